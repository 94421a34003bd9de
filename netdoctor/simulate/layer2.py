"""The chains that see frames: nft's netdev, bridge and arp families, inet's ingress, what ebtables-nft keeps.

Knows nothing of where a frame goes afterwards. Kernel: include/linux/netfilter_netdev.h:nf_hook_ingress,
nf_hook_egress; net/bridge/br_input.c:nf_hook_bridge_pre; net/bridge/br_forward.c:__br_forward;
net/ipv4/arp.c:arp_xmit, arp_rcv.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from netdoctor.netfilter import effect as effects
from netdoctor.netfilter.nft import ebtables, ruleset
from netdoctor.simulate import tables
from netdoctor.simulate.hooks import At
from netdoctor.simulate.native import BaseChain
from netdoctor.simulate.order import Asked, in_order
from netdoctor.topology.shared import shared

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from netdoctor.model.snapshot import Link
    from netdoctor.netfilter.packet import Hook
    from netdoctor.simulate.frame import Frame
    from netdoctor.simulate.run import Fate, Run
    from netdoctor.topology.namespace import Netns
    from netdoctor.topology.world import World

_FRAMES = re.compile(r'"family":\s*"(?:bridge|netdev|arp)"|"hook":\s*"ingress"')
_BRIDGE_NETFILTER = 0  # its priority at a bridge's hooks but the last: NF_BR_PRI_BRNF


def ingress(run: Run, netns: Netns, link: Link, frame: Frame) -> Fate | None:
    """A frame has come in by a device, and nobody on it has seen it (nf_hook_ingress)."""
    return _pass(run, netns, "INGRESS", frame, _on(netns, "ingress", link.name), dev_in=link.name)


def egress(run: Run, netns: Netns, link: Link, frame: Frame) -> Fate | None:
    """A frame is about to leave by a device (nf_hook_egress)."""
    return _pass(run, netns, "EGRESS", frame, _on(netns, "egress", link.name), dev_out=link.name)


def bridge(
    run: Run, netns: Netns, hook: Hook, frame: Frame, port: Link | None, out: Link | None, *, late: bool | None = None
) -> Fate | None:
    """A frame at a bridge's own hook, between its ports (nf_hook_bridge_pre, __br_forward, br_pass_frame_up).

    `late`: only the chains that come before bridge netfilter, or those behind it; None: all, for it does not look.
    """
    asked = _of(netns, "bridge", hook)
    if not asked:
        return None
    if late is not None:
        asked = tuple(one for one in asked if _is_late(run, netns, one) is late)
    names = {"dev_in": None if port is None else port.name, "dev_out": None if out is None else out.name}
    return _pass(run, netns, hook, frame, asked, **names)


def arp(run: Run, netns: Netns, hook: Hook, link: Link, frame: Frame) -> Fate | None:
    """An ARP message is sent by a device, or has come in by one (arp_xmit, arp_rcv)."""
    side = "dev_in" if hook == "INPUT" else "dev_out"
    return _pass(run, netns, hook, frame, _of(netns, "arp", hook), **{side: link.name})


def anywhere(world: World) -> bool:
    """Return whether any namespace has rules that see frames."""
    known: bool | None = world.cache.get("frame rules")
    if known is None:
        known = world.cache["frame rules"] = any(_chains(netns) for netns in world.namespaces.values())
    return known


def _is_late(run: Run, netns: Netns, one: Asked) -> bool:
    """Whether a chain comes behind bridge netfilter; of equal priority nobody knows (nf_hook_entries_grow)."""
    if one.priority != _BRIDGE_NETFILTER:
        return one.priority > _BRIDGE_NETFILTER
    key = ("hook order", netns.name, "bridge", one.label)
    if key not in run.picked:
        where = f"hook order of bridge filter in {netns.name}"
        run.picked[key] = run.choose([f"{where}: {one.label} before br_netfilter", f"{where}: br_netfilter before it"])
    return run.picked[key] == 1


def _pass(
    run: Run, netns: Netns, hook: Hook, frame: Frame, asked: Sequence[Asked], *,
    dev_in: str | None = None, dev_out: str | None = None,
) -> Fate | None:  # fmt: skip
    """Ask the chains (nf_hook_slow): they see the devices of their hook, not those that IP's tables see."""
    if not asked:
        return None
    packet = frame.packet
    before = packet.in_dev, packet.out_dev
    packet.in_dev, packet.out_dev = dev_in, dev_out
    packet.vlan = frame.tags[-1] & 0xFFF if frame.tags else None
    at = At(run, netns, hook, packet)
    try:
        for one in in_order(at, asked):
            assert one.place is not None
            if packet.arp is not None and one.what == "inet":
                continue  # it sees IP only (nft_do_chain_inet_ingress)
            result = one.place.walk(at)
            if isinstance(result.effect, effects.Reject):
                result = replace(result, effect=effects.Undecided(f"reject of a frame ({one.label})"))
            fate = tables.carry_out(at, result)
            if fate is not None:
                fate.errno = None  # nobody tells the process
                return fate
    finally:
        packet.in_dev, packet.out_dev, packet.vlan = *before, None
    return None


def _of(netns: Netns, family: str, hook: Hook) -> tuple[Asked, ...]:
    return tuple(asked for asked, _ in _chains(netns).get((family, hook.lower()), ()))


def _on(netns: Netns, hook: str, dev: str) -> tuple[Asked, ...]:
    """The chains on a device: its own, and those whose devices the snapshot does not tell."""
    chains = _chains(netns)
    if not chains:
        return ()
    key = f"{hook} {dev}"
    found: tuple[Asked, ...] | None = netns.cache.get(key)
    if found is None:
        found = netns.cache[key] = tuple(
            asked if devices else replace(asked, place=_Somewhere(asked.label))
            for asked, devices in chains.get(("netdev", hook), ())
            if not devices or any(_names(device, dev) for device in devices)
        )
    return found


def _names(written: str, dev: str) -> bool:
    return dev.startswith(written[:-1]) if written.endswith("*") else written == dev


class _Somewhere:
    """A chain of which nobody knows on what devices it is."""

    def __init__(self, label: str) -> None:
        self._label = label

    def walk(self, _at: At) -> tables.Result:
        """Nothing can be said."""
        why = f"on which devices {self._label} is (`nft list chains` was not saved)"
        return tables.Result(effects.Undecided(why), {})


Hooked = dict[tuple[str, str], tuple[tuple[Asked, tuple[str, ...]], ...]]  # (family, hook) -> chain, its devices


def _chains(netns: Netns) -> Hooked:
    """The base chains that see frames. A ruleset without any is not parsed for them."""
    found: Hooked | None = netns.cache.get("frame chains")
    if found is None:
        text = netns.snapshot.nft
        if text is None or not text.json or not _FRAMES.search(text.json):
            found = {}
        else:
            json_text = text.json
            saved = next((one.text for one in netns.snapshot.rulesets if one.family == "bridge"), "")
            found = shared(text, "frame chains", lambda: _read(json_text, saved))
        netns.cache["frame chains"] = found
    return found


def _read(json_text: str, ebtables_saved: str) -> Hooked:
    """The chains of each hook that have something to say (nft_register_basechain_hooks)."""
    gathered: dict[tuple[str, str], list[tuple[Asked, tuple[str, ...]]]] = {}
    for base, devices in _base_chains(json_text, ebtables_saved):
        family = "netdev" if base.table.family == "inet" else base.table.family
        asked = Asked(base.chain.priority, base.table.family, base.label, base)
        gathered.setdefault((family, base.chain.hook or ""), []).append((asked, devices))
    return {place: tuple(found) for place, found in gathered.items()}


def _base_chains(json_text: str, ebtables_saved: str) -> Iterator[tuple[BaseChain, tuple[str, ...]]]:
    for table in ruleset.parse_frames(json_text).values():
        if table.family == "bridge":
            ebtables.rewrite(table, ebtables_saved)
        for chain in table.chains.values():
            of_frames = table.family != "inet" or chain.hook == "ingress"
            if chain.hook is not None and of_frames and (chain.rules or chain.policy != "accept"):
                yield BaseChain(table, chain), chain.devices
