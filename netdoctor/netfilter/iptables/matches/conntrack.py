"""`-m conntrack`: everything about the connection that a packet belongs to.

Kernel: net/netfilter/xt_conntrack.c:conntrack_mt
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from netdoctor.netfilter.iptables.extension import Match
from netdoctor.netfilter.iptables.header import parse_network, protocol_number
from netdoctor.netfilter.iptables.values import port
from netdoctor.netfilter.ternary import Unknown, all_of

if TYPE_CHECKING:
    from netdoctor.netfilter.iptables.extension import Option
    from netdoctor.netfilter.packet import Connection, Packet
    from netdoctor.netfilter.surroundings import Surroundings
    from netdoctor.netfilter.ternary import Answer


_ADDRESSES = {"--ctorigsrc": "origsrc", "--ctorigdst": "origdst", "--ctreplsrc": "replsrc", "--ctrepldst": "repldst"}
_PORTS = {
    "--ctorigsrcport": "origsrc", "--ctorigdstport": "origdst", "--ctreplsrcport": "replsrc",
    "--ctrepldstport": "repldst",
}  # fmt: skip


class Conntrack(Match):
    """State, status, both tuples, direction and timeout, each with its own negation.

    A packet that conntrack has not seen (raw, or none is loaded) is INVALID, as the kernel has it.
    """

    name = "conntrack"
    options = {
        "--ctstate": 1, "--ctproto": 1, "--ctstatus": 1, "--ctexpire": 1, "--ctdir": 1,
        "--ctorigsrc": 1, "--ctorigdst": 1, "--ctreplsrc": 1, "--ctrepldst": 1,
        "--ctorigsrcport": 1, "--ctorigdstport": 1, "--ctreplsrcport": 1, "--ctrepldstport": 1,
    }  # fmt: skip

    __slots__ = ("parsed",)

    def compile(self) -> None:
        """Parse each option's value once."""
        self.parsed: dict[str, Any] = {}
        for option in self.written:
            name, value = option.name, option.value
            if name in {"--ctstate", "--ctstatus"}:
                self.parsed[name] = frozenset(value.upper().split(","))
            elif name == "--ctproto":
                self.parsed[name] = protocol_number(value)
            elif name in _ADDRESSES:
                self.parsed[name] = parse_network(value, self.family)
            elif name in _PORTS or name == "--ctexpire":
                low, _, high = value.partition(":")
                self.parsed[name] = (port(low), port(high or low)) if name in _PORTS else (int(low), int(high or low))
            else:
                self.parsed[name] = value.upper()

    def matches(self, packet: Packet, around: Surroundings) -> Answer:
        """Say whether every option holds; without an entry only `--ctstate` is asked, and it must be there."""
        asked = self.written
        if packet.connection is None:
            asked = tuple(option for option in asked if option.name == "--ctstate")
            if not asked:
                return False
        return all_of(self._holds(option, packet) for option in asked)

    def _holds(self, option: Option, packet: Packet) -> Answer:
        wanted = self.parsed[option.name]
        if option.name == "--ctstate":
            return (not wanted.isdisjoint(_states(packet))) is not option.negated
        connection = packet.connection
        assert connection is not None
        if option.name == "--ctdir":
            return (packet.direction == wanted) is not option.negated
        if option.name == "--ctproto":
            return (connection.original.proto == wanted) is not option.negated
        if option.name == "--ctstatus":
            return _status(connection, wanted, negated=option.negated)
        if option.name == "--ctexpire":
            return Unknown(f"match conntrack {option}")
        return self._tuple_holds(option, connection, wanted)

    def _tuple_holds(self, option: Option, connection: Connection, wanted: tuple[int, int]) -> Answer:
        which = _ADDRESSES.get(option.name) or _PORTS[option.name]
        tuple_ = connection.original if which.startswith("orig") else connection.reply
        source = which.endswith("src")
        if option.name in _ADDRESSES:
            value, mask = wanted
            return ((tuple_.src if source else tuple_.dst) & mask == value) is not option.negated
        found = tuple_.sport if source else tuple_.dport
        if found is None:
            return Unknown(f"match conntrack {option}: a port that the kernel picks")
        return (wanted[0] <= found <= wanted[1]) is not option.negated


def _states(packet: Packet) -> set[str]:
    states: set[str] = {packet.ctstate or "INVALID"}
    connection = packet.connection
    if connection is not None and packet.ctstate not in {None, "INVALID", "UNTRACKED"}:
        if connection.snat:
            states.add("SNAT")
        if connection.dnat:
            states.add("DNAT")
    return states


def _status(connection: Connection, wanted: frozenset[str], *, negated: bool) -> Answer:
    """`NONE` has no bit, so it never matches and its negation always does."""
    flags = {
        "EXPECTED": connection.expected,
        "SEEN_REPLY": connection.seen_reply,
        "ASSURED": connection.assured,
        "CONFIRMED": connection.confirmed,
    }
    return any(flags.get(name, False) for name in wanted) is not negated
