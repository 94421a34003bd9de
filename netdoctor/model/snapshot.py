"""The network state of one host: frozen structs, in the kernel's own words. One document, every namespace.

Knows nothing of where the data came from, what a packet is, or what a rule in a ruleset means.

Interfaces are named by name (unique in a namespace), namespaces by their `Namespace.name`. Addresses are text as
iproute2 prints them; prefixes always carry their length (`0.0.0.0/0` is the default route).
"""

from __future__ import annotations

from typing import Any

import msgspec

FORMAT_NAME = "netdoctor.snapshot"
FORMAT_VERSION = 1


class Address(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One address of an interface (`ip address`)."""

    family: str  # "ip" | "ip6"
    address: str
    prefixlen: int
    peer: str | None = None
    broadcast: str | None = None
    scope: str = "global"  # global | link | host | site
    label: str | None = None
    flags: tuple[str, ...] = ()  # secondary, deprecated, tentative, dadfailed, nodad, noprefixroute, temporary, …


class BridgeOptions(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Options of a bridge device (`ip -d link show type bridge`)."""

    stp_state: int = 0
    forward_delay: int = 1500  # hundredths of a second
    ageing_time: int = 30000
    vlan_filtering: bool = False
    vlan_protocol: str = "802.1Q"
    vlan_default_pvid: int = 1
    mcast_snooping: bool = True
    group_fwd_mask: int = 0
    # Per bridge, each is OR-ed with the namespace's sysctl (br_netfilter_hooks.c:br_nf_pre_routing).
    nf_call_iptables: bool = False
    nf_call_ip6tables: bool = False
    nf_call_arptables: bool = False


class BridgePort(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Flags of a bridge port (`bridge -d link`)."""

    state: str = "forwarding"  # disabled | listening | learning | forwarding | blocking
    hairpin: bool = False
    isolated: bool = False
    learning: bool = True
    flood: bool = True
    mcast_flood: bool = True
    bcast_flood: bool = True
    guard: bool = False
    root_block: bool = False
    neigh_suppress: bool = False
    proxy_arp: bool = False
    proxy_arp_wifi: bool = False
    locked: bool = False
    vlan_tunnel: bool = False
    priority: int = 32
    cost: int = 2


class Vxlan(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Parameters of a VXLAN device."""

    vni: int | None = None
    local: str | None = None
    remote: str | None = None  # also the multicast group
    dev: str | None = None
    dstport: int = 4789
    ttl: int = 0
    tos: int = 0
    df: str | None = None
    learning: bool = True
    external: bool = False
    l2miss: bool = False
    l3miss: bool = False
    proxy: bool = False
    udp_csum: bool = True
    udp_zero_csum6_rx: bool = False


class Macvlan(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Mode of a macvlan, macvtap or ipvlan device."""

    mode: str  # bridge | private | vepa | passthru | source | l2 | l3 | l3s
    flags: tuple[str, ...] = ()  # of an ipvlan: private, vepa
    macs: tuple[str, ...] = ()  # whom a macvlan in source mode listens to


class Vlan(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """An 802.1Q or 802.1ad device."""

    vid: int
    protocol: str = "802.1Q"


class Tunnel(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """IPIP, GRE, SIT, … : the outer addresses and what else decides the outer packet."""

    local: str | None = None
    remote: str | None = None
    dev: str | None = None
    ttl: int = 0
    tos: int = 0
    pmtudisc: bool = True
    key: str | None = None  # of what is sent, as four numbers
    external: bool = False
    ikey: str | None = None  # of what is received


class Link(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One interface with everything about it that decides a packet's fate (`ip -d link`, `ip address`)."""

    ifindex: int
    name: str
    kind: str | None = None  # bridge, veth, vxlan, macvlan, vlan, ipip, …; None for loopback and physical links
    link_type: str = "ether"  # ether | loopback | none | ipip | …
    mac: str | None = None
    permanent_mac: str | None = None
    mtu: int = 1500
    flags: tuple[str, ...] = ()  # UP, LOWER_UP, BROADCAST, MULTICAST, LOOPBACK, NOARP, POINTOPOINT, PROMISC, NO-CARRIER
    operstate: str = "UNKNOWN"
    altnames: tuple[str, ...] = ()
    alias: str | None = None
    group: int = 0
    master: str | None = None  # a bridge, bond or VRF of the same namespace
    parent: str | None = None  # IFLA_LINK by name: a veth's peer, a macvlan's or VLAN's lower device
    parent_index: int | None = None
    parent_netns: str | None = None  # the namespace that holds `parent`; None: this one; "?": one that was not read
    txqlen: int = 1000
    driver: str | None = None
    bus: str | None = None  # bus address of a physical link, as in `ip -d link` parentdev
    offloads: tuple[str, ...] = ()
    bridge: BridgeOptions | None = None
    port: BridgePort | None = None
    vxlan: Vxlan | None = None
    macvlan: Macvlan | None = None
    vlan: Vlan | None = None
    tunnel: Tunnel | None = None
    vrf_table: int | None = None
    unmodelled: dict[str, Any] = {}  # what `ip -d` said of this kind and no field here holds (bond, geneve, …)
    addresses: tuple[Address, ...] = ()

    @property
    def is_up(self) -> bool:
        """Administratively up (IFF_UP)."""
        return "UP" in self.flags

    @property
    def has_carrier(self) -> bool:
        """Whether the lower layer is up (IFF_LOWER_UP)."""
        return "LOWER_UP" in self.flags


class Nexthop(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One way of a route."""

    dev: str | None = None
    via: str | None = None
    via_family: str | None = None  # "ip6" for an IPv4 route by an IPv6 gateway
    weight: int = 1
    flags: tuple[str, ...] = ()  # onlink, linkdown, dead, pervasive, offload
    encap: str | None = None  # mpls, seg6, … as printed: not modelled


class Route(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One route of one table (`ip route show table all`)."""

    family: str  # "ip" | "ip6"
    dst: str  # prefix with its length
    type: str = "unicast"  # unicast local broadcast multicast anycast unreachable prohibit blackhole throw nat
    table: int = 254
    src: str | None = None  # source prefix of a source-specific route
    prefsrc: str | None = None
    scope: str = "global"  # global | site | link | host | nowhere
    protocol: str = "boot"
    metric: int = 0
    tos: int = 0
    mtu: int | None = None
    hoplimit: int | None = None  # of packets sent by it, where none is asked for
    nexthops: tuple[Nexthop, ...] = ()
    nhid: int | None = None
    pref: str | None = None
    expires: int | None = None
    flags: tuple[str, ...] = ()
    realm: str | None = None


class PolicyRule(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One rule of the routing policy database (`ip rule`)."""

    family: str  # "ip" | "ip6"
    priority: int
    action: str = "lookup"  # lookup | goto | nop | blackhole | unreachable | prohibit
    table: int | None = None
    goto: int | None = None
    inverted: bool = False  # `not`
    src: str | None = None  # prefix; None: all
    dst: str | None = None
    iif: str | None = None
    oif: str | None = None
    fwmark: int | None = None
    fwmask: int = 0xFFFFFFFF
    tos: int | None = None
    ipproto: str | None = None
    sport: tuple[int, int] | None = None
    dport: tuple[int, int] | None = None
    uidrange: tuple[int, int] | None = None
    l3mdev: bool = False
    suppress_prefixlength: int | None = None
    suppress_ifgroup: int | None = None
    unmodelled: tuple[str, ...] = ()


class Neighbour(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One entry of the ARP or ND cache, or a proxy entry (`ip neigh`)."""

    family: str
    dev: str
    dst: str
    mac: str | None = None
    state: tuple[str, ...] = ()  # REACHABLE STALE DELAY PROBE PERMANENT NOARP FAILED INCOMPLETE
    flags: tuple[str, ...] = ()  # router, proxy, extern_learn


class FdbEntry(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One forwarding entry of a bridge or a VXLAN device (`bridge fdb`)."""

    mac: str
    dev: str
    master: str | None = None
    vlan: int | None = None
    state: str | None = None  # permanent | static | None for a learned one
    flags: tuple[str, ...] = ()  # self, master, extern_learn, offload, sticky
    dst: str | None = None  # the remote VTEP
    port: int | None = None
    vni: int | None = None
    via: str | None = None


class PortVlan(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One VLAN of a bridge port or of the bridge itself (`bridge vlan`)."""

    dev: str
    vid: int
    vid_end: int | None = None
    flags: tuple[str, ...] = ()  # PVID, Egress Untagged


class Socket(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A socket that can receive: a TCP listener, a bound UDP, SCTP or raw socket, or an established one."""

    family: str  # "ip" | "ip6"; an "ip6" one bound to :: takes IPv4 too unless `v6only`
    proto: str  # tcp | udp | sctp | raw | …
    state: str  # LISTEN | UNCONN | ESTAB | …
    address: str  # 0.0.0.0, ::, or one address
    port: int
    peer: str | None = None
    peer_port: int | None = None
    dev: str | None = None  # SO_BINDTODEVICE
    v6only: bool = False
    transparent: bool | None = None  # IP_TRANSPARENT; None: not told (iproute2 before 5.9, or no diagnosis module)
    uid: int | None = None
    inode: int | None = None
    mark: int = 0
    program: str | None = None  # comm of the process that holds it; never its command line
    pid: int | None = None


class Tuple(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One direction of a conntrack entry. Ports are None for protocols without; echo requests have type, code, id."""

    src: str
    dst: str
    sport: int | None = None
    dport: int | None = None
    icmp_type: int | None = None
    icmp_code: int | None = None
    icmp_id: int | None = None
    packets: int | None = None
    bytes: int | None = None


class ConntrackEntry(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One connection that the kernel tracks (`conntrack -L -o extended`)."""

    family: str
    proto: str
    original: Tuple
    reply: Tuple
    state: str | None = None  # TCP: ESTABLISHED, SYN_SENT, …
    timeout: int | None = None
    status: tuple[str, ...] = ()  # UNREPLIED, ASSURED, OFFLOAD, …
    mark: int = 0
    zone: int = 0
    zone_orig: int | None = None
    zone_reply: int | None = None
    helper: str | None = None


class RealServer(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One server behind a virtual one."""

    family: str
    address: str
    port: int
    forward: str = "masq"  # masq | route | tunnel | local | bypass
    weight: int = 1
    active: int | None = None  # connections; None: not known
    inactive: int | None = None


class VirtualServer(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One service of IPVS (`ipvsadm -Sn`, /proc/net/ip_vs): an address and port, or a packet mark."""

    family: str
    proto: str | None  # tcp | udp | sctp; None: by mark
    address: str | None
    port: int = 0  # 0: every port
    mark: int = 0
    scheduler: str = "rr"
    persistent: int | None = None  # seconds
    one_packet: bool = False
    servers: tuple[RealServer, ...] = ()


class RulesetText(msgspec.Struct, frozen=True, omit_defaults=True):
    """What `iptables-save -c` (or its twin) wrote, kept word for word."""

    family: str  # "ip" | "ip6" | "bridge" (ebtables-save) | "arp"
    backend: str  # "legacy" | "nft"
    text: str
    tool: str | None = None  # as the tool names itself: "iptables-save v1.8.9 (nf_tables)"


class NftText(msgspec.Struct, frozen=True, omit_defaults=True):
    """What nft wrote, kept word for word: native tables and those that iptables-nft keeps."""

    json: str | None = None  # `nft -j list ruleset`
    hooks: str | None = None  # `nft list hooks`, where kernel and tool have it
    tool: str | None = None


class Port(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A published port of a container."""

    proto: str
    container_port: int
    host_port: int
    host_address: str | None = None


class Workload(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A container or pod, from the state that its runtime keeps on disk or what its CLI printed. Only names things."""

    runtime: str  # docker | containerd | podman | cri-o | cni | lxc
    id: str
    name: str
    netns: str | None = None  # Namespace.name; None where it was not found
    pod: str | None = None
    pod_namespace: str | None = None
    owner: str | None = None  # a stable name: the pod's controller, the compose service
    pid: int | None = None
    state: str | None = None
    network_mode: str | None = None
    networks: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    ports: tuple[Port, ...] = ()
    labels: dict[str, str] = {}  # by an allow-list


class Network(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A network that a container runtime made (`docker network inspect`, CNI, netavark)."""

    runtime: str
    name: str
    id: str | None = None
    driver: str | None = None
    bridge: str | None = None
    subnets: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()
    internal: bool = False
    options: dict[str, str] = {}


class Unread(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Something that could not be read, and why. `netns` is None where the whole host is meant."""

    what: str  # a section's name: "iptables-legacy", "conntrack", "sysctl", "namespace", …
    why: str
    netns: str | None = None


class Namespace(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One network namespace."""

    name: str
    aliases: tuple[str, ...] = ()
    inode: int | None = None
    pids: tuple[int, ...] = ()
    links: tuple[Link, ...] = ()
    routes: tuple[Route, ...] = ()
    policy_rules: tuple[PolicyRule, ...] = ()
    neighbours: tuple[Neighbour, ...] = ()
    fdb: tuple[FdbEntry, ...] = ()
    port_vlans: tuple[PortVlan, ...] = ()
    sysctls: dict[str, str] = {}  # "net.ipv4.ip_forward": "1"; an interface name's dots are kept as "/" (sysctl(8))
    rulesets: tuple[RulesetText, ...] = ()
    nft: NftText | None = None
    ipsets: str | None = None  # `ipset save`
    ipvs: tuple[VirtualServer, ...] = ()
    xfrm_policy: str | None = None  # `ip xfrm policy`
    conntrack: tuple[ConntrackEntry, ...] = ()
    conntrack_stats: dict[str, int] = {}  # summed over cpus: insert_failed, drop, early_drop, invalid, …
    counters: dict[str, int] = {}  # /proc/net/{snmp,netstat,snmp6}: "TcpExt.IPReversePathFilter"
    sockets: tuple[Socket, ...] = ()
    sections: tuple[str, ...] = ()  # the sections that were read: an empty one that is listed is known to be empty


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The network state of one host at one time. Written by `store.save`, read by `store.load`."""

    format: str = FORMAT_NAME
    version: int = FORMAT_VERSION
    netdoctor: str = ""  # the version that wrote it
    host: str = "host"
    taken_at: float = 0.0  # seconds since the epoch, UTC
    utc_offset: int = 0  # seconds east of UTC (`time` matches use the host's zone with --kerneltz)
    uptime: float | None = None
    kernel: str | None = None  # uname -r
    tools: dict[str, str] = {}  # tool -> what its --version said
    iptables: str | None = None  # the backend of the `iptables` command: "legacy" | "nft"
    source: str = "live"  # live | saved output | collector
    masked: bool = False
    namespaces: tuple[Namespace, ...] = ()
    workloads: tuple[Workload, ...] = ()
    networks: tuple[Network, ...] = ()
    unread: tuple[Unread, ...] = ()
