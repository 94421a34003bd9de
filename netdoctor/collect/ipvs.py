"""What `ipvsadm -Sn` or /proc/net/ip_vs prints, as virtual servers with their real ones.

Knows nothing of what they do to a packet. Kernel: net/netfilter/ipvs/ip_vs_ctl.c:ip_vs_info_seq_show
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from msgspec.structs import replace

from netdoctor.model.errors import SnapshotError
from netdoctor.model.snapshot import RealServer, VirtualServer

if TYPE_CHECKING:
    from collections.abc import Sequence

_HZ = 250  # `persistent` is in the kernel's ticks in /proc; only whether there is any matters
_FORWARD = {"Masq": "masq", "Tunnel": "tunnel", "Route": "route", "Local": "local", "Bypass": "bypass"}
_PROTOCOLS = {"-t": "tcp", "-u": "udp", "--sctp-service": "sctp"}
_METHODS = {"-m": "masq", "-i": "tunnel", "-g": "route"}


def parse(text: str) -> tuple[VirtualServer, ...]:
    """Return the virtual servers of either listing. Raises: SnapshotError."""
    lines = [line.split() for line in text.splitlines() if line.strip()]
    try:
        return _from_proc(lines) if lines and lines[0][0] == "IP" else _from_save(lines)
    except (ValueError, IndexError) as error:
        raise SnapshotError(f"the listing of virtual servers cannot be read: {error}", "save it again") from None


def _from_proc(lines: Sequence[Sequence[str]]) -> tuple[VirtualServer, ...]:
    found: list[VirtualServer] = []
    for words in lines[3:]:
        if words[0] == "->":
            family, address, port = _hex(words[1])
            server = RealServer(
                family, address, port, _FORWARD.get(words[2], words[2]), int(words[3]), int(words[4]), int(words[5])
            )
            found[-1] = replace(found[-1], servers=(*found[-1].servers, server))
            continue
        flags = tuple(words[3:])
        persistent = int(flags[flags.index("persistent") + 1]) // _HZ if "persistent" in flags else None
        one_packet = "ops" in flags
        if words[0] == "FWM":
            service = VirtualServer("ip", None, None, 0, int(words[1], 16), words[2], persistent, one_packet)
        else:
            family, address, port = _hex(words[1])
            service = VirtualServer(family, words[0].lower(), address, port, 0, words[2], persistent, one_packet)
        found.append(service)
    return tuple(found)


def _hex(text: str) -> tuple[str, str, int]:
    """`0A000001:0050`, `[fd00:0000:…:0001]:0050`."""
    address, _, port = text.rpartition(":")
    if address.startswith("["):
        return "ip6", str(ipaddress.IPv6Address(address[1:-1])), int(port, 16)
    return "ip", str(ipaddress.IPv4Address(int(address, 16))), int(port, 16)


def _from_save(lines: Sequence[Sequence[str]]) -> tuple[VirtualServer, ...]:
    """`-A -t 10.0.0.1:80 -s wrr`, then `-a -t 10.0.0.1:80 -r 10.2.0.1:8080 -m -w 3` for each real server."""
    found: dict[tuple[str, ...], VirtualServer] = {}
    for words in lines:
        kind, name = words[1], words[2]
        options = dict(zip(words[3:], [*words[4:], ""], strict=True))
        if words[0] == "-A":
            found[kind, name] = _service(kind, name, options)
        elif words[0] == "-a":
            family, address, port = _plain(options["-r"])
            method = next((_METHODS[word] for word in words if word in _METHODS), "route")
            server = RealServer(family, address, port, method, int(options.get("-w", "1")))
            found[kind, name] = replace(found[kind, name], servers=(*found[kind, name].servers, server))
    return tuple(found.values())


def _service(kind: str, name: str, options: dict[str, str]) -> VirtualServer:
    persistent = int(options["-p"]) if "-p" in options else None
    scheduler, one_packet = options.get("-s", "wlc"), "-o" in options
    if kind == "-f":
        return VirtualServer(
            "ip6" if "-6" in options else "ip", None, None, 0, int(name), scheduler, persistent, one_packet
        )
    family, address, port = _plain(name)
    return VirtualServer(family, _PROTOCOLS[kind], address, port, 0, scheduler, persistent, one_packet)


def _plain(text: str) -> tuple[str, str, int]:
    address, _, port = text.rpartition(":")
    address = address.strip("[]")
    return ("ip6" if ":" in address else "ip"), address, int(port)
