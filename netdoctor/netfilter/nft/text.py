"""A rule of `nft -j` in nft's own syntax, for people. Source: nft(8), src/expression.c and src/statement.c of nftables.

Knows nothing of meaning. What it does not know is printed as JSON has it, never left out.
"""

from __future__ import annotations

import json
from typing import Any

_SIGNS = frozenset({"&", "|", "^", "<<", ">>"})


def rule_text(expressions: list[Any], family: str) -> str:
    """Return a rule's statements as nft lists them, counters without their values."""
    return " ".join(filter(None, (_statement(one, family) for one in expressions)))


def _statement(written: Any, family: str) -> str:
    if isinstance(written, str):
        return written
    (name, given), *_ = written.items()
    printer = _STATEMENTS.get(name)
    if printer is not None:
        return str(printer(given, family))
    if given is None:
        return str(name)
    if name in {"jump", "goto"}:
        return f"{name} {given['target']}"
    return f"{name} {json.dumps(given, ensure_ascii=False)}"


def _match(given: dict[str, Any], family: str) -> str:
    left, right, op = given["left"], given["right"], given["op"]
    shown = _value(left)
    if isinstance(right, bool):
        return f"{shown} {'exists' if right else 'missing'}"
    sign = "" if op in {"==", "in"} else f"{op} "
    if isinstance(left, dict) and set(left) & _SIGNS:
        sign = f"{op} "
    if isinstance(right, list):
        return f"{shown} {sign}{','.join(_value(one) for one in right)}"
    return f"{shown} {sign}{_value(right, quoted=_is_name(left))}"


def _is_name(left: Any) -> bool:
    return isinstance(left, dict) and left.get("meta", {}).get("key") in {"iifname", "oifname", "iif", "oif"}


def _value(written: Any, *, quoted: bool = False) -> str:
    if isinstance(written, str):
        return f'"{written}"' if quoted and not written.startswith("@") else written
    if isinstance(written, list):
        return " | ".join(_value(one) for one in written)
    if not isinstance(written, dict):
        return str(written)
    (name, given), *_ = written.items()
    if name in _SIGNS:
        return f" {name} ".join(_bracketed(one) for one in given)
    printer = _VALUES.get(name)
    return printer(given) if printer is not None else f"{name} {json.dumps(given, ensure_ascii=False)}"


def _bracketed(written: Any) -> str:
    shown = _value(written)
    return f"({shown})" if " | " in shown else shown


def _set(given: list[Any]) -> str:
    return "{ " + ", ".join(_element(one) for one in given) + " }" if given else "{ }"


def _element(written: Any) -> str:
    if isinstance(written, list) and len(written) == 2:
        return f"{_value(written[0])} : {_result(written[1])}"
    return _value(written)


def _result(written: Any) -> str:
    if isinstance(written, dict) and (set(written) <= {"jump", "goto", "accept", "drop", "return", "continue"}):
        return _statement(written, "")
    return _value(written)


def _elem(given: dict[str, Any]) -> str:
    timeout = f" timeout {given['timeout']}s" if "timeout" in given else ""
    return _value(given["val"]) + timeout


def _payload(given: dict[str, Any]) -> str:
    if "protocol" in given:
        return f"{given['protocol']} {given['field']}"
    return f"@{given['base']},{given['offset']},{given['len']}"


def _meta(given: dict[str, Any]) -> str:
    bare = {"mark", "iif", "iifname", "oif", "oifname", "skuid", "skgid", "iifgroup", "oifgroup", "pkttype", "cgroup"}
    key = str(given["key"])
    return key if key in bare - {"mark", "pkttype"} else f"meta {key}"


def _ct(given: dict[str, Any]) -> str:
    return " ".join(("ct", *([given["dir"]] if "dir" in given else []), given["key"]))


def _fib(given: dict[str, Any]) -> str:
    flags = given.get("flags", [])
    return f"fib {' . '.join([flags] if isinstance(flags, str) else flags)} {given['result']}"


def _numgen(given: dict[str, Any]) -> str:
    offset = f" offset {given['offset']}" if given.get("offset") else ""
    return f"numgen {given['mode']} mod {given['mod']}{offset}"


def _hash(given: dict[str, Any]) -> str:
    seed = f" seed {given['seed']:#x}" if given.get("seed") is not None else ""
    return f"jhash {_value(given.get('expr'))} mod {given['mod']}{seed}"


_VALUES: dict[str, Any] = {
    "payload": _payload,
    "meta": _meta,
    "ct": _ct,
    "fib": _fib,
    "numgen": _numgen,
    "jhash": _hash,
    "symhash": lambda given: f"symhash mod {given['mod']}",
    "concat": lambda given: " . ".join(_value(one) for one in given),
    "prefix": lambda given: f"{_value(given['addr'])}/{given['len']}",
    "range": lambda given: f"{_value(given[0])}-{_value(given[1])}",
    "set": _set,
    "elem": _elem,
    "map": lambda given: f"{_value(given['key'])} map {_data(given['data'])}",
    "socket": lambda given: f"socket {given['key']}",
    "rt": lambda given: f"rt {given['key']}",
    "tcp option": lambda given: " ".join(
        ("tcp option", str(given.get("name")), *([given["field"]] if "field" in given else []))
    ),
    "exthdr": lambda given: " ".join(
        ("exthdr", str(given.get("name")), *([given["field"]] if "field" in given else []))
    ),
}


def _data(written: Any) -> str:
    return written if isinstance(written, str) else _value(written)


def _log(given: dict[str, Any] | None, family: str) -> str:
    words = ["log"]
    for name, value in (given or {}).items():
        words += [name, f'"{value}"' if name == "prefix" else str(value)]
    return " ".join(words)


def _limit(given: Any, family: str) -> str:
    if not isinstance(given, dict):
        return f"limit name {_value(given)}"
    over = "over " if given.get("inv") else ""
    burst = f" burst {given['burst']} packets" if given.get("burst") else ""
    return f"limit rate {over}{given.get('rate')}/{given.get('per')}{burst}"


def _nat(name: str) -> Any:
    def shown(given: dict[str, Any] | None, family: str) -> str:
        if not given:
            return name
        words = [name]
        if family == "inet" and "family" in given:
            words.append(given["family"])
        addr = _value(given["addr"]) if "addr" in given else ""
        port = f":{_value(given['port'])}" if "port" in given else ""
        if addr or port:
            boxed = f"[{addr}]" if port and ":" in addr and "map" not in addr else addr
            words += ["to", boxed + port]
        flags = given.get("flags", [])
        return " ".join([*words, ",".join([flags] if isinstance(flags, str) else flags)]).strip()

    return shown


def _reject(given: dict[str, Any] | None, family: str) -> str:
    if not given:
        return "reject"
    if given.get("type") == "tcp reset":
        return "reject with tcp reset"
    return f"reject with {given.get('type')} {given.get('expr', '')}".rstrip()


def _set_change(given: dict[str, Any], family: str) -> str:
    return f"{given['op']} {given['set']} {{ {_value(given['elem'])} }}"


_STATEMENTS: dict[str, Any] = {
    "match": _match,
    "counter": lambda given, family: "counter" if isinstance(given, dict) or given is None else f"counter name {given}",
    "vmap": lambda given, family: f"{_value(given['key'])} vmap {_data(given['data'])}",
    "mangle": lambda given, family: f"{_value(given['key'])} set {_value(given['value'])}",
    "snat": _nat("snat"),
    "dnat": _nat("dnat"),
    "masquerade": _nat("masquerade"),
    "redirect": _nat("redirect"),
    "reject": _reject,
    "log": _log,
    "limit": _limit,
    "set": _set_change,
    "flow": lambda given, family: f"flow {given['op']} {given['flowtable']}",
    "queue": lambda given, family: f"queue num {(given or {}).get('num', 0)}",
    "ct count": lambda given, family: f"ct count {'over ' if given.get('inv') else ''}{given.get('val')}",
    "ct helper": lambda given, family: f'ct helper set "{given}"',
    "xt": lambda given, family: f"xt {given.get('type')} {given.get('name')}",
    "quota": lambda given, family: (
        f"quota {'over ' if given.get('inv') else ''}{given['val']} {given.get('val_unit', 'bytes')}"
        if isinstance(given, dict)
        else f"quota name {given}"
    ),
}
