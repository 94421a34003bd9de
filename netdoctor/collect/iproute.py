"""What `ip -d -j` and `bridge -d -j` print, as the model's structs. Pure functions: text in, structs out.

Knows nothing of where the text comes from: the kernel of this host, or a file that somebody sent.
"""

from __future__ import annotations

from typing import Any

import msgspec

from netdoctor.model.errors import SnapshotError
from netdoctor.model.snapshot import (
    Address,
    BridgeOptions,
    BridgePort,
    FdbEntry,
    Link,
    Macvlan,
    Neighbour,
    Nexthop,
    PolicyRule,
    PortVlan,
    Route,
    Tunnel,
    Vlan,
    Vxlan,
)

TABLES = {"local": 255, "main": 254, "default": 253, "all": 0, "unspec": 0}
_ADDRESS_FLAGS = (
    "secondary", "deprecated", "tentative", "dadfailed", "nodad", "noprefixroute", "temporary", "optimistic", "home",
    "mngtmpaddr", "autojoin", "dynamic", "permanent",
)  # fmt: skip
_TUNNELS = frozenset({"ipip", "sit", "gre", "gretap", "ip6tnl", "ip6gre", "ip6gretap", "vti", "vti6", "erspan"})
_PLAIN_KINDS = frozenset({"veth", "dummy", "tun", "tap", "ifb", "nlmon", "vrf", "bridge", "vxlan", "vlan"}) | _TUNNELS
_MACVLANS = frozenset({"macvlan", "macvtap", "ipvlan", "ipvtap"})

Json = dict[str, Any]


def decode(text: str, what: str) -> list[Json]:
    """Return the list that an iproute2 tool printed; nothing printed is an empty list. Raises: SnapshotError."""
    if not text.strip():
        return []
    try:
        listed = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise SnapshotError(f"{what} is not what iproute2 prints with -j: {error}", "save it again") from None
    if not isinstance(listed, list):
        raise SnapshotError(f"{what} is not a list", "save it again with `-j`")
    return [item for item in listed if isinstance(item, dict) and item]


def links(link_text: str, address_text: str, ports: dict[str, Json] | None = None) -> tuple[Link, ...]:
    """Return the interfaces of `ip -d -j link` with the addresses of `ip -j address` (either may be empty).

    `ports`: what `bridge -d -j link` says of each port, which is fresher and fuller than the link's own.
    """
    addressed = {item["ifname"]: item for item in decode(address_text, "ip address") if "ifname" in item}
    listed = decode(link_text, "ip link") or list(addressed.values())
    names = {item["ifindex"]: item["ifname"] for item in listed if "ifindex" in item and "ifname" in item}
    return tuple(
        _link(item, addressed.get(item["ifname"], item), names, (ports or {}).get(item["ifname"]))
        for item in listed
        if "ifname" in item
    )


def _link(item: Json, addressed: Json, names: dict[int, str], port: Json | None) -> Link:
    info = item.get("linkinfo") or {}
    kind, data = info.get("info_kind"), info.get("info_data") or {}
    slave = info.get("info_slave_data") if info.get("info_slave_kind") == "bridge" else None
    parent = item.get("link")
    parent_index = item.get("link_index")
    elsewhere = item.get("link_netnsid") is not None
    if parent is None and parent_index is not None and not elsewhere:
        parent = names.get(parent_index)
    return Link(
        ifindex=item.get("ifindex", 0),
        name=item["ifname"],
        kind=kind,
        link_type=item.get("link_type", "ether"),
        mac=item.get("address"),
        permanent_mac=item.get("permaddr"),
        mtu=item.get("mtu", 1500),
        flags=tuple(item.get("flags", ())),
        operstate=item.get("operstate", "UNKNOWN"),
        altnames=tuple(item.get("altnames", ())),
        alias=item.get("ifalias"),
        group=_group(item.get("group")),
        master=item.get("master"),
        parent=parent,
        parent_index=parent_index,
        parent_netns="?" if elsewhere else None,
        txqlen=item.get("txqlen", 1000),
        bus=item.get("parentdev"),
        bridge=_bridge(data) if kind == "bridge" else None,
        port=_port(found_port) if (found_port := slave or port) else None,
        vxlan=_vxlan(data) if kind == "vxlan" else None,
        macvlan=_macvlan(data) if kind in _MACVLANS else None,
        vlan=Vlan(data.get("id", 0), data.get("protocol", "802.1Q")) if kind == "vlan" else None,
        tunnel=_tunnel(data) if kind in _TUNNELS else None,
        vrf_table=_number(data.get("table")) if kind == "vrf" else None,
        unmodelled={} if kind is None or kind in _PLAIN_KINDS | _MACVLANS else data,
        addresses=tuple(_address(entry) for entry in addressed.get("addr_info", ()) if entry.get("local")),
    )


def _group(value: Any) -> int:
    if value in {None, "default"}:
        return 0
    return int(value) if str(value).isdecimal() else -1


def _number(value: Any) -> int | None:
    try:
        return None if value is None else int(str(value), 0)
    except ValueError:
        return None


def _address(entry: Json) -> Address:
    return Address(
        family="ip6" if entry.get("family") == "inet6" else "ip",
        address=entry["local"],
        prefixlen=entry.get("prefixlen", 32),
        peer=entry.get("address"),
        broadcast=entry.get("broadcast"),
        scope=str(entry.get("scope", "global")),
        label=entry.get("label"),
        flags=tuple(flag for flag in _ADDRESS_FLAGS if entry.get(flag)),
    )


def _bridge(data: Json) -> BridgeOptions:
    return BridgeOptions(
        stp_state=data.get("stp_state", 0),
        forward_delay=data.get("forward_delay", 1500),
        ageing_time=data.get("ageing_time", 30000),
        vlan_filtering=bool(data.get("vlan_filtering")),
        vlan_protocol=data.get("vlan_protocol", "802.1Q"),
        vlan_default_pvid=data.get("vlan_default_pvid", 1),
        mcast_snooping=bool(data.get("mcast_snooping", True)),
        group_fwd_mask=_number(data.get("group_fwd_mask")) or 0,
        nf_call_iptables=bool(data.get("nf_call_iptables")),
        nf_call_ip6tables=bool(data.get("nf_call_ip6tables")),
        nf_call_arptables=bool(data.get("nf_call_arptables")),
    )


def _port(data: Json) -> BridgePort:
    flags = (
        "hairpin", "isolated", "flood", "learning", "mcast_flood", "bcast_flood", "guard", "root_block",
        "neigh_suppress", "proxy_arp", "proxy_arp_wifi", "locked", "vlan_tunnel",
    )  # fmt: skip
    return BridgePort(
        state=data.get("state", "forwarding"),
        priority=data.get("priority", 32),
        cost=data.get("cost", 2),
        **{flag: bool(data[flag]) for flag in flags if flag in data},
    )


def _vxlan(data: Json) -> Vxlan:
    return Vxlan(
        vni=data.get("id"),
        local=data.get("local") or data.get("local6"),
        remote=data.get("remote") or data.get("remote6") or data.get("group") or data.get("group6"),
        dev=data.get("link"),
        dstport=data.get("port", 4789),
        ttl=_number(data.get("ttl")) or 0,
        tos=_number(data.get("tos")) or 0,
        df=data.get("df"),
        learning=bool(data.get("learning", True)),
        external=bool(data.get("external")),
        l2miss=bool(data.get("l2miss")),
        l3miss=bool(data.get("l3miss")),
        proxy=bool(data.get("proxy")),
        udp_csum=bool(data.get("udp_csum", True)),
        udp_zero_csum6_rx=bool(data.get("udp_zero_csum6_rx")),
    )


def _macvlan(data: Json) -> Macvlan:
    return Macvlan(
        mode=data.get("mode", "bridge"),
        flags=tuple(flag for flag in ("private", "vepa", "nopromisc", "nodst") if data.get(flag)),
        macs=tuple(data.get("macaddr_data", ())),
    )


def _tunnel(data: Json) -> Tunnel:
    anything = {"any", "0.0.0.0", "::", None}  # noqa: S104  # what iproute2 prints for "not bound"
    return Tunnel(
        local=None if data.get("local") in anything else data.get("local"),
        remote=None if data.get("remote") in anything else data.get("remote"),
        dev=data.get("link"),
        ttl=_number(data.get("ttl")) or 0,
        tos=_number(data.get("tos")) or 0,
        pmtudisc=bool(data.get("pmtudisc", True)),
        key=data.get("okey"),
        ikey=data.get("ikey"),
        external=bool(data.get("external")),
    )


def ports(text: str) -> dict[str, Json]:
    """Return what `bridge -d -j link` says, by the port's name; a VXLAN's own line without a master is left out."""
    return {item["ifname"]: item for item in decode(text, "bridge link") if "ifname" in item and "master" in item}


def routes(text: str, family: str, nexthop_text: str = "") -> tuple[Route, ...]:
    """Return the routes of `ip -d -j route show table all` of one family; nexthop objects are resolved."""
    objects = _nexthop_objects(nexthop_text)
    return tuple(_route(item, family, objects) for item in decode(text, "ip route") if "dst" in item)


def _nexthop_objects(text: str) -> dict[int, list[Json]]:
    """`ip -j nexthop`: groups refer to others by id."""
    listed = {item["id"]: item for item in decode(text, "ip nexthop") if "id" in item}
    found: dict[int, list[Json]] = {}
    for number, item in listed.items():
        members = item.get("group")
        if members is None:
            found[number] = [item]
        else:
            found[number] = [
                {**listed[member["id"]], "weight": member.get("weight", 1)}
                for member in members
                if member["id"] in listed
            ]
    return found


def _route(item: Json, family: str, objects: dict[int, list[Json]]) -> Route:
    kind = item.get("type", "unicast")
    metrics = item.get("metrics") or [{}]
    if "nexthops" in item:
        hops = item["nexthops"]
    elif "nhid" in item and "dev" not in item and "gateway" not in item:
        hops = objects.get(item["nhid"], [])
    else:
        hops = [item] if "dev" in item or "gateway" in item or "via" in item else []
    return Route(
        family=family,
        dst=prefix(item["dst"], family),
        type=kind,
        table=_table(item.get("table", "main")),
        src=prefix(item["from"], family) if "from" in item and item["from"] != "all" else None,
        prefsrc=item.get("prefsrc"),
        scope=str(item.get("scope", "global")),
        protocol=str(item.get("protocol", "boot")),
        metric=item.get("metric", 0),
        tos=_number(item.get("tos")) or 0,
        mtu=_number(item.get("mtu", metrics[0].get("mtu"))),
        hoplimit=_number(item.get("hoplimit", metrics[0].get("hoplimit"))),
        nexthops=tuple(_nexthop(hop) for hop in hops),
        nhid=item.get("nhid"),
        pref=item.get("pref"),
        expires=item.get("expires"),
        flags=tuple(item.get("flags", ())),
        realm=_realm(item),
    )


def _realm(item: Json) -> str | None:
    flow = item.get("flow")
    return str(flow) if flow is not None else None


def _nexthop(hop: Json) -> Nexthop:
    via = hop.get("via") or {}
    return Nexthop(
        dev=hop.get("dev"),
        via=hop.get("gateway") or via.get("host"),
        via_family="ip6" if via.get("family") == "inet6" else None,
        weight=hop.get("weight", 1),
        flags=tuple(hop.get("flags", ())),
        encap=str(hop["encap"]) if "encap" in hop else None,
    )


def prefix(text: str, family: str) -> str:
    """Return a prefix with its length: `default` and bare addresses have none in iproute2's output."""
    if text in {"default", "all"}:
        return "0.0.0.0/0" if family == "ip" else "::/0"
    if "/" in text:
        return text
    return f"{text}/{32 if family == 'ip' else 128}"


def _table(name: Any) -> int:
    text = str(name)
    if text in TABLES:
        return TABLES[text]
    return int(text) if text.isdecimal() else -1


def policy_rules(text: str, family: str) -> tuple[PolicyRule, ...]:
    """Return the rules of `ip -d -j rule` of one family, in the order of their priority."""
    return tuple(_policy_rule(item, family) for item in decode(text, "ip rule"))


_RULE_WORDS = frozenset({
    "priority", "src", "srclen", "dst", "dstlen", "table", "protocol", "not", "fwmark", "fwmask", "iif", "iif_detached",
    "oif", "oif_detached", "tos", "ipproto", "sport", "dport", "sport_start", "sport_end", "dport_start", "dport_end",
    "uid_start", "uid_end", "l3mdev", "suppress_prefixlen", "suppress_ifgroup", "action", "goto", "unresolved",
})  # fmt: skip


def _policy_rule(item: Json, family: str) -> PolicyRule:
    action = str(item.get("action", "goto" if "goto" in item else "lookup"))
    mark = _number(item.get("fwmark"))
    return PolicyRule(
        family=family,
        priority=item.get("priority", 0),
        action={"to_tbl": "lookup"}.get(action, action),
        table=_table(item["table"]) if "table" in item else None,
        goto=_number(item.get("goto")),
        inverted="not" in item,
        src=_rule_prefix(item, "src", family),
        dst=_rule_prefix(item, "dst", family),
        iif=item.get("iif"),
        oif=item.get("oif"),
        fwmark=mark,
        fwmask=_number(item.get("fwmask")) or 0xFFFFFFFF,
        tos=_number(item.get("tos")),
        ipproto=str(item["ipproto"]) if "ipproto" in item else None,
        sport=_range(item, "sport"),
        dport=_range(item, "dport"),
        uidrange=(item["uid_start"], item["uid_end"]) if "uid_start" in item else None,
        l3mdev="l3mdev" in item,
        suppress_prefixlength=item.get("suppress_prefixlen"),
        suppress_ifgroup=_number(item.get("suppress_ifgroup")),
        unmodelled=tuple(sorted(set(item) - _RULE_WORDS)),
    )


def _rule_prefix(item: Json, side: str, family: str) -> str | None:
    text = item.get(side)
    if text in {None, "all"}:
        return None
    length = item.get(f"{side}len")
    return f"{text}/{length}" if length is not None else prefix(str(text), family)


def _range(item: Json, side: str) -> tuple[int, int] | None:
    if f"{side}_start" in item:
        return item[f"{side}_start"], item[f"{side}_end"]
    return (int(item[side]), int(item[side])) if side in item else None


def neighbours(text: str, family: str) -> tuple[Neighbour, ...]:
    """Return the entries of `ip -j neigh` or `ip -j neigh show proxy` of one family."""
    return tuple(
        Neighbour(
            family=family,
            dev=item["dev"],
            dst=item["dst"],
            mac=item.get("lladdr"),
            state=tuple(item.get("state", ())),
            flags=tuple(
                flag for flag in ("router", "proxy", "extern_learn", "extern_valid", "offload") if flag in item
            ),
        )
        for item in decode(text, "ip neigh")
        if "dev" in item and "dst" in item and (":" in item["dst"]) is (family == "ip6")
    )


def fdb(text: str) -> tuple[FdbEntry, ...]:
    """Return the entries of `bridge -j fdb`."""
    return tuple(
        FdbEntry(
            mac=item["mac"],
            dev=item["ifname"],
            master=item.get("master"),
            vlan=item.get("vlan"),
            state=item.get("state") or None,
            flags=tuple(item.get("flags", ())),
            dst=item.get("dst"),
            port=_number(item.get("port")),
            vni=_number(item.get("vni")),
            via=item.get("viaIf"),
        )
        for item in decode(text, "bridge fdb")
        if "mac" in item and "ifname" in item
    )


def port_vlans(text: str) -> tuple[PortVlan, ...]:
    """Return the VLANs of `bridge -j vlan`."""
    return tuple(
        PortVlan(item["ifname"], vlan["vlan"], vlan.get("vlanEnd"), tuple(vlan.get("flags", ())))
        for item in decode(text, "bridge vlan")
        for vlan in item.get("vlans", ())
        if "ifname" in item
    )
