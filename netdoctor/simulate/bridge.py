"""A bridge: from port to port, up to the bridge itself, down from it; with bridge netfilter or without.

Knows nothing of what the rules say. Kernel: net/bridge/br_input.c:br_handle_frame_finish, br_forward.c:should_deliver,
br_netfilter_hooks.c:br_nf_pre_routing_finish, br_nf_forward_ip, br_nf_post_routing.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from netdoctor.netfilter.packet import format_address
from netdoctor.simulate import device, layer2, neighbour, routing
from netdoctor.simulate import frame as frames
from netdoctor.simulate.hooks import At, pass_hook
from netdoctor.simulate.run import Fate, Onward, Run
from netdoctor.topology import wire

if TYPE_CHECKING:
    from netdoctor.model.snapshot import FdbEntry, Link
    from netdoctor.netfilter.packet import Hook
    from netdoctor.simulate.frame import Frame
    from netdoctor.topology.namespace import Netns

_SYSCTL = {4: "net.bridge.bridge-nf-call-iptables", 6: "net.bridge.bridge-nf-call-ip6tables"}


def netfilter_sysctl(family: int) -> str:
    """Return the sysctl that lets iptables see bridged packets of a family."""
    return _SYSCTL[family]


def asks_netfilter(run: Run, netns: Netns, bridge: Link, family: int) -> bool:
    """Return whether bridged packets pass iptables: by the namespace's sysctl or the bridge's own flag, with
    br_netfilter.

    Without the module the sysctl does not exist. A snapshot without sysctls cannot say: the walk forks.

    Kernel: net/bridge/br_netfilter_hooks.c:br_nf_pre_routing
    """
    text = netns.sysctl(_SYSCTL[family])
    if text is None:
        if netns.snapshot.sysctls:
            return False
        key = ("bridge netfilter", netns.name, family)
        if key not in run.picked:
            what = f"{_SYSCTL[family]} of {netns.name} (not in the snapshot)"
            run.picked[key] = run.choose([f"{what}: assumed 1", f"{what}: assumed 0"])
        return run.picked[key] == 0
    if text.strip() not in ("", "0"):
        return True
    own = bridge.bridge
    return own is not None and (own.nf_call_iptables if family == 4 else own.nf_call_ip6tables)


def handle_frame(run: Run, netns: Netns, port: Link, frame: Frame) -> Onward:
    """A frame comes in by a port (br_handle_frame)."""
    packet = frame.packet
    bridge = netns.bridge_of(port)
    assert bridge is not None
    packet.in_dev, packet.out_dev = bridge.name, None
    if not wire.forwards(port) and not _learns(port):
        return _drop(run, netns, bridge, port, frame, _state_text(bridge, port))
    if wire.filters(bridge) and not netns.was_read("port_vlans"):
        detail = f"{bridge.name} filters VLANs, and they are not in the snapshot"
        run.step("bridge", netns, packet, action="unknown", note=detail)
        cause = run.cause("unmodelled", netns, interface=bridge.name, detail=detail)
        return Fate("unknown", netns, bridge.name, packet, cause)
    packet.pkttype = frames.packet_type(packet, bridge.mac, port.mac)
    netfilter = packet.arp is None and not frame.tags and asks_netfilter(run, netns, bridge, packet.family)
    fate = layer2.bridge(run, netns, "PREROUTING", frame, port, None, late=False if netfilter else None)
    if fate is not None:
        return fate
    if netfilter:
        return _pre_routing(run, netns, bridge, port, frame)
    return partial(_finish, run, netns, bridge, port, frame)


def _learns(port: Link) -> bool:
    """A port that only learns asks the rules too, and drops the frame afterwards (br_handle_frame)."""
    return port.port is not None and port.port.state == "learning"


def _state_text(bridge: Link, port: Link) -> str:
    return f"port {port.name} of {bridge.name} is {'disabled' if port.port is None else port.port.state}"


def _finish(run: Run, netns: Netns, bridge: Link, port: Link, frame: Frame) -> Onward:
    """Whether the port takes the frame: its VLANs, its lock, its state (br_handle_frame_finish)."""
    if frame.prerouted:  # what stands behind bridge netfilter (br_nf_hook_thresh)
        fate = layer2.bridge(run, netns, "PREROUTING", frame, port, None, late=True)
        if fate is not None:
            return fate
    inside = wire.vlan_in(netns, bridge, port, frame.tags)
    if inside is None:
        said = wire.tag_text(frame.tags[-1]) if frame.tags else "untagged frames"
        return _drop(run, netns, bridge, port, frame, f"port {port.name} of {bridge.name} takes no {said}")
    if not wire.admits(netns, bridge, port, frame.packet.src_mac, inside):
        why = f"port {port.name} of {bridge.name} is locked, and the FDB does not have {frame.packet.src_mac} behind it"
        return _drop(run, netns, bridge, port, frame, why)
    if not wire.forwards(port):
        return _drop(run, netns, bridge, port, frame, _state_text(bridge, port))
    frame.tags = inside
    return partial(_decide, run, netns, bridge, port, frame)


def _pre_routing(run: Run, netns: Netns, bridge: Link, port: Link, frame: Frame) -> Onward:
    """Ask PREROUTING for a bridged packet; a new destination may lead elsewhere (br_nf_pre_routing_finish)."""
    packet = frame.packet
    packet.phys_in = port.name
    frame.prerouted = True
    before = packet.dst
    run.step("bridge", netns, packet, action="netfilter", note=f"{bridge.name}: port {port.name}, iptables is asked")
    fate = _ask_netfilter(At(run, netns, "PREROUTING", packet))
    if fate is not None:
        return fate
    if packet.dst == before:
        return partial(_finish, run, netns, bridge, port, frame)
    route = routing.arrive(run, netns, packet, bridge.name)
    if isinstance(route, Fate):
        # Forwarding off is no way out: the route that ip_route_input gives then is ip_error, not one by the bridge.
        return route
    if route.kind != "local" and route.dev == bridge.name:
        family, hop = route.next_hop(packet)
        frame.next_hop = format_address(family, hop)
        wrong = neighbour.resolve(run, netns, bridge, frame, family, hop)
        if wrong is not None:
            return wrong
        return partial(_finish, run, netns, bridge, port, frame)
    packet.dst_mac = bridge.mac
    packet.pkttype = "host"
    return partial(_finish, run, netns, bridge, port, frame)


def _ask_netfilter(at: At) -> Fate | None:
    """Pass a hook of IP's; there a frame for another seems to be for here (br_nf_pre_routing: pkt_otherhost)."""
    packet = at.packet
    hidden = packet.pkttype == "otherhost"
    if hidden:
        packet.pkttype = "host"
    fate = pass_hook(at)
    if hidden:
        packet.pkttype = "otherhost"
    return fate


def _decide(run: Run, netns: Netns, bridge: Link, port: Link, frame: Frame) -> Onward:
    """Up to the bridge itself, or out of another port (br_handle_frame_finish)."""
    packet = frame.packet
    mac = packet.dst_mac
    if frames.is_group(mac) or (mac is not None and _is_own(netns, bridge, mac)):
        return partial(_pass_up, run, netns, bridge, port, frame)
    return _out(run, netns, bridge, port, frame)


def _out(run: Run, netns: Netns, bridge: Link, port: Link | None, frame: Frame) -> Onward:
    """Out of the port behind which the MAC lives, if that may be (br_forward)."""
    egress = _egress(netns, bridge, frame)
    if isinstance(egress, str):
        return _drop(run, netns, bridge, port, frame, egress, kind="neighbour")
    wrong = _may_not_cross(bridge, port, egress)
    if wrong is not None:
        return _drop(run, netns, bridge, port, frame, wrong)
    outside = wire.vlan_out(netns, bridge, egress, frame.tags)
    if outside is None:
        why = f"port {egress.name} of {bridge.name} is not in {wire.tag_text(frame.tags[-1])}"
        return _drop(run, netns, bridge, port, frame, why)
    frame.tags = outside
    return partial(_forward, run, netns, bridge, port, egress, frame)


def _pass_up(run: Run, netns: Netns, bridge: Link, port: Link, frame: Frame) -> Onward:
    """The bridge itself takes the frame (br_pass_frame_up)."""
    packet = frame.packet
    outside = wire.vlan_out(netns, bridge, None, frame.tags)
    if outside is None:
        why = f"{bridge.name} itself is not in {wire.tag_text(frame.tags[-1])}"
        return _drop(run, netns, bridge, None, frame, why)
    frame.tags = outside
    fate = layer2.bridge(run, netns, "INPUT", frame, port, None) or layer2.ingress(run, netns, bridge, frame)
    if fate is not None:
        return fate
    packet.in_dev, packet.out_dev = bridge.name, None
    return partial(device.take, run, netns, bridge, frame)


def _forward(run: Run, netns: Netns, bridge: Link, port: Link | None, egress: Link, frame: Frame) -> Onward:
    """From port to port (__br_forward), past iptables or through it."""
    packet = frame.packet
    frame.netns, frame.dev = netns, bridge.name
    source = bridge.name if port is None else port.name
    if not frame.prerouted or port is None:
        asked = "" if port is None else ", iptables not asked"
        packet.phys_in, packet.phys_out = (None if port is None else port.name), egress.name
        run.step("bridge", netns, packet, action="forward", note=f"{bridge.name}: {source} > {egress.name}{asked}")
        packet.phys_in = packet.phys_out = None
        hook: Hook = "OUTPUT" if port is None else "FORWARD"
        fate = layer2.bridge(run, netns, hook, frame, port, egress)
        fate = fate or layer2.bridge(run, netns, "POSTROUTING", frame, None, egress)
        return fate or partial(device.transmit, run, netns, egress, frame)
    packet.in_dev, packet.out_dev = bridge.name, bridge.name
    packet.phys_out, packet.bridged = egress.name, True
    run.step("bridge", netns, packet, action="forward", note=f"{bridge.name}: {source} > {egress.name}")
    fate = (
        layer2.bridge(run, netns, "FORWARD", frame, port, egress, late=False)
        or _ask_netfilter(At(run, netns, "FORWARD", packet))
        or layer2.bridge(run, netns, "FORWARD", frame, port, egress, late=True)
        or layer2.bridge(run, netns, "POSTROUTING", frame, None, egress)
    )
    if fate is not None:
        return fate
    packet.in_dev = None
    fate = _ask_netfilter(At(run, netns, "POSTROUTING", packet))
    return fate or partial(device.transmit, run, netns, egress, frame)


def send(run: Run, netns: Netns, bridge: Link, frame: Frame) -> Onward:
    """The namespace itself sends by the bridge (br_dev_xmit): iptables has been asked already."""
    return partial(_decide_own, run, netns, bridge, frame)


def _decide_own(run: Run, netns: Netns, bridge: Link, frame: Frame) -> Onward:
    """What the bridge itself sends goes to the port behind its MAC (br_dev_xmit)."""
    packet = frame.packet
    if frames.is_group(packet.dst_mac):
        detail = f"{bridge.name}: a broadcast is flooded to every port, which is not modelled"
        run.step("bridge", netns, packet, action="unknown", note=detail)
        return Fate(
            "unknown", netns, bridge.name, packet, run.cause("unmodelled", netns, interface=bridge.name, detail=detail)
        )
    inside = wire.vlan_in(netns, bridge, None, frame.tags)
    if inside is None:
        said = wire.tag_text(frame.tags[-1]) if frame.tags else "untagged frames"
        return _drop(run, netns, bridge, None, frame, f"{bridge.name} itself sends no {said}")
    frame.tags = inside
    return _out(run, netns, bridge, None, frame)


def _is_own(netns: Netns, bridge: Link, mac: str) -> bool:
    """Whether the FDB has the MAC as local: the bridge's own and its ports'."""
    return mac == bridge.mac or any(port.mac == mac for port in netns.bridge_ports(bridge.name))


def _moves(netns: Netns, bridge: Link, static: FdbEntry, frame: Frame) -> bool:
    """Whether an entry that a person made follows its station to the port where that one speaks (br_fdb_update)."""
    if "sticky" in static.flags:
        return False
    for port in netns.bridge_ports(bridge.name):
        tags = wire.vlan_out(netns, bridge, port, frame.tags)
        if port.name != static.dev and tags is not None and wire.behind(netns, port, tags).with_mac(static.mac):
            return port.port is None or port.port.learning
    return False


def _static(netns: Netns, bridge: Link) -> dict[tuple[str, int | None], FdbEntry]:
    """FDB entries that a person made: (MAC, VLAN) -> entry."""
    key = f"static {bridge.name}"
    found: dict[tuple[str, int | None], FdbEntry] | None = netns.cache.get(key)
    if found is None:
        ports = {port.name for port in netns.bridge_ports(bridge.name)}
        found = {
            (entry.mac, entry.vlan): entry
            for entry in netns.snapshot.fdb
            if entry.dev in ports
            and entry.master == bridge.name
            and entry.state == "static"
            and "self" not in entry.flags
        }
        netns.cache[key] = found
    return found


def _egress(netns: Netns, bridge: Link, frame: Frame) -> Link | str:
    """The port behind which a frame's MAC lives (br_fdb_find_rcu); a text says why there is none."""
    mac, vid = frame.packet.dst_mac, wire.vid_of(bridge, frame.tags)
    if mac is None:
        return "a frame without an address"
    static = _static(netns, bridge).get((mac, vid))
    if static is not None and not _moves(netns, bridge, static, frame):
        return netns.links[static.dev]
    outside: list[Link] = []
    for port in netns.bridge_ports(bridge.name):
        tags = wire.vlan_out(netns, bridge, port, frame.tags)
        if tags is None:
            continue
        behind = wire.behind(netns, port, tags)
        if mac != frames.OUTSIDE and behind.with_mac(mac):
            if not frame.packet.to_group and not wire.finds(netns, port, mac):
                return f"port {port.name} learns nothing and gets no flooded frames"
            return port
        if behind.exits:
            outside.append(port)
    if mac != frames.OUTSIDE:
        for entry in netns.snapshot.fdb:
            if (entry.mac, entry.vlan) == (mac, vid) and entry.dev in {port.name for port in outside}:
                return netns.links[entry.dev]
    if outside:
        return outside[0]
    for port in netns.bridge_ports(bridge.name):
        if not wire.forwards(port) and port.port is not None:
            return f"no port that forwards leads to {mac}; port {port.name} is {port.port.state}"
    where = f" in {wire.tag_text(frame.tags[-1])}" if vid is not None else ""
    return f"no station on {bridge.name} has the address {mac}{where}"


def _may_not_cross(bridge: Link, port: Link | None, egress: Link) -> str | None:
    """Why a bridge keeps a frame (should_deliver)."""
    if not wire.forwards(egress):
        return f"port {egress.name} of {bridge.name} is {egress.port.state if egress.port is not None else 'disabled'}"
    if wire.may_cross(port, egress):
        return None
    assert port is not None
    if port.name == egress.name and not (egress.port is not None and egress.port.hairpin):
        return f"{bridge.name} would send it back out of port {port.name}, whose hairpin flag is off"
    if port.name == egress.name:
        return f"port {port.name} of {bridge.name} is isolated, from itself too, whatever its hairpin flag says"
    return f"ports {port.name} and {egress.name} of {bridge.name} are isolated from each other"


def _drop(
    run: Run, netns: Netns, bridge: Link, port: Link | None, frame: Frame, why: str, kind: str = "bridge"
) -> Fate:
    packet = frame.packet
    if port is not None and packet.phys_in is None:
        packet.phys_in = port.name
    run.step("bridge", netns, packet, action="drop", note=why)
    interface = bridge.name if port is None else port.name
    cause = run.cause(kind, netns, interface=interface, detail=why)  # type: ignore[arg-type]
    return Fate("dropped", netns, bridge.name, packet, cause)
