"""Expressions: what `nft -j` writes on the left of a match, in a map's key, as an address to translate to.

Knows nothing of verdicts. Each compiles once and is asked for its value; see fields.py for what may come back.
Kernel: net/netfilter/nft_bitwise.c, nft_numgen.c, nft_hash.c, nft_lookup.c
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from netdoctor.netfilter.jhash import jhash
from netdoctor.netfilter.nft import fields, kinds
from netdoctor.netfilter.nft.sets import Elements, bounds
from netdoctor.netfilter.ternary import Unknown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from netdoctor.netfilter.nft.kinds import Kind, Value
    from netdoctor.netfilter.packet import Packet
    from netdoctor.netfilter.surroundings import Surroundings
    from netdoctor.netfilter.ternary import Answer

Read = tuple["Value", ...] | Unknown | None  # one part for each field of a concatenation


class Decider(Protocol):
    """Who decides what no snapshot shows: the simulator forks there."""

    def holds(self, answer: Answer, what: str) -> bool:
        """Whether a doubtful answer is taken as yes."""
        ...

    def pick(self, weights: Sequence[float], what: str) -> int:
        """Which of several ways the kernel takes at random."""
        ...


class Scope(Protocol):
    """The table in which names of sets and maps are looked up."""

    @property
    def family(self) -> str:
        """Of the table: "ip", "ip6", "inet", …"""
        ...

    def elements(self, name: str, key: Sequence[Kind]) -> Elements:
        """The elements of a named set or map. Raises: KeyError, ValueError."""
        ...

    def written(self, name: str) -> Sequence[Any]:
        """The elements of a named set or map as JSON has them. Raises: KeyError."""
        ...


@dataclass(frozen=True)
class Asking:
    """A packet, what surrounds it, and who decides in doubt."""

    packet: Packet
    around: Surroundings
    decide: Decider


class Expression(Protocol):
    """Something with a value."""

    @property
    def kinds(self) -> Sequence[Kind]:
        """The kind of each part."""
        ...

    def value(self, asking: Asking) -> Read:
        """Return its value for a packet."""
        ...


class Field:
    """A header field, metadata, something of the connection."""

    def __init__(self, found: tuple[Kind, fields.Getter]) -> None:
        kind, self._getter = found
        self.kinds = (kind,)

    def value(self, asking: Asking) -> Read:
        """What the packet has there."""
        read = self._getter(asking.packet, asking.around)
        return read if read is None or isinstance(read, Unknown) else (read,)


class Constant:
    """A value that is written down."""

    def __init__(self, kind: Kind, value: Value) -> None:
        self.kinds = (kind,)
        self._value = (value,)

    def value(self, asking: Asking) -> Read:
        """The constant."""
        return self._value


class Concat:
    """Several values side by side."""

    def __init__(self, parts: Sequence[Expression]) -> None:
        self._parts = parts
        self.kinds = tuple(kind for part in parts for kind in part.kinds)

    def value(self, asking: Asking) -> Read:
        """All of them: the first that is not there ends the rule."""
        found: list[Value] = []
        for part in self._parts:
            value = part.value(asking)
            if value is None or isinstance(value, Unknown):
                return value
            found += value
        return tuple(found)


class Bitwise:
    """`&`, `|`, `^`, `<<`, `>>` (nft_bitwise_eval)."""

    def __init__(self, sign: str, left: Expression, right: Expression) -> None:
        self._sign, self._left, self._right = sign, left, right
        self.kinds = left.kinds

    def value(self, asking: Asking) -> Read:
        """The left side changed by the right."""
        left, right = self._left.value(asking), self._right.value(asking)
        if left is None or right is None:
            return None
        if isinstance(left, Unknown) or isinstance(right, Unknown):
            return left if isinstance(left, Unknown) else right
        one, other = int(left[0]), int(right[0])
        width = (1 << (self.kinds[0].bits or 32)) - 1
        return ({
            "&": one & other, "|": one | other, "^": one ^ other, "<<": (one << min(other, 128)) & width,
            ">>": one >> min(other, 128),
        }[self._sign],)  # fmt: skip


class Numgen:
    """`numgen random mod N`, and `inc`, whose count no snapshot shows (nft_ng_random_eval, nft_ng_inc_eval)."""

    def __init__(self, given: dict[str, Any]) -> None:
        self._modulus, self._offset = int(given["mod"]), int(given.get("offset") or 0)
        self._what = f"numgen {given['mode']} mod {self._modulus}"
        self.kinds = (kinds.NUMBER,)

    def value(self, asking: Asking) -> Read:
        """One of the numbers, each as likely."""
        picked = asking.decide.pick([1 / self._modulus] * self._modulus, self._what)
        return (self._offset + picked,)


class Hash:
    """`jhash EXPRESSION mod N seed S` (nft_jhash_eval); without a seed, as in `symhash`, every number is as likely."""

    def __init__(self, given: dict[str, Any], of: Expression | None) -> None:
        self._modulus, self._offset = int(given["mod"]), int(given.get("offset") or 0)
        self._seed, self._of = given.get("seed"), of
        self.kinds = (kinds.NUMBER,)

    def value(self, asking: Asking) -> Read:
        """The hash, scaled to the modulus."""
        if self._of is None or self._seed is None:
            picked = asking.decide.pick([1 / self._modulus] * self._modulus, f"hash mod {self._modulus}")
            return (self._offset + picked,)
        value = self._of.value(asking)
        if value is None or isinstance(value, Unknown):
            return value
        data = b"".join(_registers(part, kind) for part, kind in zip(value, self._of.kinds, strict=True))
        return (self._offset + (jhash(data, int(self._seed)) * self._modulus >> 32),)


class Map:
    """`KEY map { … }`, `KEY map @name` (nft_lookup_eval)."""

    def __init__(self, key: Expression, data: Any, scope: Scope, gives: Sequence[Kind]) -> None:
        self._key = key
        self.kinds = gives
        if isinstance(data, str):
            self._elements = scope.elements(data.removeprefix("@"), key.kinds)
        else:
            pairs = data["set"] if isinstance(data, dict) else data
            self._elements = Elements(key.kinds, ((pair[0], pair[1]) for pair in pairs))

    def look(self, asking: Asking) -> tuple[bool, Any] | Unknown | None:
        """Return whether the key is in the map, and what stands there as JSON has it."""
        key = self._key.value(asking)
        return key if key is None or isinstance(key, Unknown) else self._elements.find(key)

    def value(self, asking: Asking) -> Read:
        """What the map gives; a key that is not in it ends the rule."""
        found = self.look(asking)
        if found is None or isinstance(found, Unknown):
            return found
        there, written = found
        if not there:
            return None
        parts = written["concat"] if isinstance(written, dict) and "concat" in written else [written]
        return tuple(bounds(part, kind)[0] for part, kind in zip(parts, self.kinds, strict=False))


def compile_expression(written: Any, scope: Scope, expected: Sequence[Kind] = ()) -> Expression:
    """Return an expression of `nft -j`. `expected`: the kinds that constants and maps give.

    Raises: ValueError, KeyError, TypeError for what is not understood; the message names it.
    """
    if not isinstance(written, dict):
        kind = expected[0] if expected else kinds.NUMBER
        return Constant(kind, bounds(written, kind)[0])
    (name, given), *_ = written.items()
    if name in _FIELDS:
        return Field(_FIELDS[name](given))
    if name == "concat":
        each = [expected[at : at + 1] for at in range(len(given))] if expected else [()] * len(given)
        return Concat([compile_expression(part, scope, kind) for part, kind in zip(given, each, strict=True)])
    if name in {"&", "|", "^", "<<", ">>"}:
        left = compile_expression(given[0], scope, expected)
        expression: Expression = left
        for other in given[1:]:
            shift = (kinds.NUMBER,) if name in {"<<", ">>"} else left.kinds
            expression = Bitwise(name, expression, compile_expression(other, scope, shift))
        return expression
    if name == "numgen":
        return Numgen(given)
    if name in {"jhash", "symhash"}:
        return Hash(given, compile_expression(given["expr"], scope) if "expr" in given else None)
    if name == "map":
        return Map(compile_expression(given["key"], scope), given["data"], scope, expected)
    if name in {"prefix", "range"}:
        kind = expected[0] if expected else kinds.NUMBER
        return Constant(kind, bounds(written, kind)[0])
    raise ValueError(name)


_FIELDS: dict[str, Any] = {
    "payload": lambda given: (
        fields.payload(given["protocol"], given["field"])
        if "protocol" in given
        else fields.raw(given["base"], given["offset"], given["len"])
    ),
    "meta": lambda given: fields.meta(given["key"]),
    "ct": lambda given: fields.ct(given["key"], given.get("dir")),
    "fib": lambda given: fields.fib(given["result"], frozenset(_listed(given.get("flags")))),
    "socket": lambda given: fields.socket(given["key"]),
    "tcp option": lambda given: fields.option(str(given.get("name", "")), given.get("field")),
    "exthdr": lambda given: fields.extension(given["name"], given.get("field")),
    "rt": lambda given: (kinds.NUMBER, lambda packet, around: Unknown(f"nft: rt {given['key']}")),
    "osf": lambda given: (kinds.TEXT, lambda packet, around: Unknown("nft: osf")),
    "ipsec": lambda given: (kinds.NUMBER, lambda packet, around: Unknown("nft: ipsec")),
}


def _listed(value: Any) -> list[str]:
    return [] if value is None else [value] if isinstance(value, str) else list(value)


def _registers(value: Value, kind: Kind) -> bytes:
    """A value as it stands in nftables' 32-bit registers: in network order, filled up behind."""
    if isinstance(value, str):
        return value.encode()[:16].ljust(16, b"\0")
    size = max(1, (kind.bits + 7) // 8)
    order = "little" if kind.name == "integer" else "big"
    return value.to_bytes(size, order).ljust(-(-size // 4) * 4, b"\0")  # type: ignore[arg-type]
