"""A bench for matches: counts on a real kernel which rules a packet hits, and holds that against what the model
says."""

from __future__ import annotations

import ipaddress
import json
import os
import re
import struct
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from netdoctor.netfilter.iptables.rule import Rule
from netdoctor.netfilter.packet import ICMP, ICMPV6, SCTP, TCP, UDP, Connection, Packet, inverted
from netdoctor.netfilter.ternary import Unknown

CLIENT = {4: "10.1.0.2", 6: "2001:db8:1::2"}
SERVER = {4: "10.2.0.2", 6: "2001:db8:2::2"}
ROUTER_IN = {4: "10.1.0.1", 6: "2001:db8:1::1"}
CLIENT_MAC, ROUTER_MAC = "02:00:00:00:01:02", "02:00:00:00:01:01"


@dataclass
class Around:
    """Surroundings as literals."""

    hook: str = "FORWARD"
    table: str = "mangle"
    types: dict = field(default_factory=dict)
    reverse: object = True
    sockets: object = False
    sets: dict = field(default_factory=dict)
    groups: dict = field(default_factory=dict)
    now: tuple = (0.0, 0)
    sysctls: dict = field(default_factory=dict)

    def address_type(self, family, address, dev):
        return self.types.get(
            (str(ipaddress.ip_address(address)) if family == 4 else str(ipaddress.IPv6Address(address)), dev),
            Unknown("type"),
        )

    def reverse_path(self, packet, *, loose, use_mark, accept_local):
        return self.reverse

    def local_socket(self, packet, *, transparent, wildcard):
        return self.sockets

    def steer(self, packet, address, port):
        self.steered = (address, port)
        return self.sockets

    def route_device(self, packet, *, of_source, by, use_mark):
        return Unknown("route")

    def transforms(self):
        return False

    def connections(self):
        return 1

    def ipset(self, name):
        return self.sets.get(name)

    def device_group(self, dev):
        return self.groups.get(dev, 0)

    def clock(self):
        return self.now

    def sysctl(self, name):
        return self.sysctls.get(name)


def make_packet(family=4, proto=TCP, **fields):
    """A packet from client to server as the router's FORWARD sees it, new to conntrack."""
    values = {
        "src": int(ipaddress.ip_address(CLIENT[family])),
        "dst": int(ipaddress.ip_address(SERVER[family])),
        "in_dev": "in0",
        "out_dev": "out0",
        "src_mac": CLIENT_MAC,
        "dst_mac": ROUTER_MAC,
        "ctstate": "NEW",
        "ttl": 64,
        "df": False,
    }
    if proto in {TCP, UDP, SCTP, 33, 136}:
        values |= {"sport": 40000, "dport": 80}
    if proto == TCP:
        values |= {"tcp_flags": 2}
    if proto in {ICMP, ICMPV6}:
        values |= {"icmp_type": 8 if proto == ICMP else 128, "icmp_code": 0, "icmp_id": 7}
    packet = Packet(family=family, proto=proto, **(values | fields))
    packet.size = len(ip_packet(packet))
    if packet.ctstate not in {None, "INVALID", "UNTRACKED"} and packet.connection is None:
        packet.connection = Connection(packet.tuple(), inverted(packet.tuple()), packets=(1, 0), bytes=(packet.size, 0))
    return packet


def _sum16(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _transport(packet, source, target):
    data = packet.payload

    def summed(header, at):
        whole = header + data
        if packet.family == 4:
            front = source + target + struct.pack("!BBH", 0, packet.proto, len(whole))
        else:
            front = source + target + struct.pack("!IHBB", len(whole), 0, 0, packet.proto)
        check = _sum16(front + whole)
        return whole[:at] + struct.pack("!H", check) + whole[at + 2 :]

    if packet.proto == TCP:
        options = b""
        if packet.tcp_mss is not None:
            options += struct.pack("!BBH", 2, 4, packet.tcp_mss)
        for kind in sorted(packet.tcp_options - {2}):
            options += b"\1" if kind == 1 else bytes((kind, 2)) if kind != 3 else b"\3\3\7"
        options += b"\0" * (-len(options) % 4)
        header = struct.pack(
            "!HHIIBBHHH", packet.sport, packet.dport, 1000, 0, (20 + len(options)) << 2, packet.tcp_flags, 1000, 0, 0
        )
        return summed(header + options, 16)
    if packet.proto in {UDP, 136}:
        return summed(struct.pack("!HHHH", packet.sport, packet.dport, 8 + len(data), 0), 6)
    if packet.proto == ICMP:
        whole = struct.pack("!BBHHH", packet.icmp_type, packet.icmp_code, 0, packet.icmp_id or 0, 1) + data
        return whole[:2] + struct.pack("!H", _sum16(whole)) + whole[4:]
    if packet.proto == ICMPV6:
        return summed(struct.pack("!BBHHH", packet.icmp_type, packet.icmp_code, 0, packet.icmp_id or 0, 1), 2)
    if packet.proto == SCTP:
        return _sctp(packet)
    if packet.proto == 33:
        return summed(
            struct.pack("!HHBBHBBH", packet.sport, packet.dport, 5, 0, 0, 1, 0, 1) + struct.pack("!II", 0, 0), 6
        )
    return data


def _crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def _sctp(packet):
    """An INIT chunk."""
    chunk = struct.pack("!BBHIIHHI", 1, 0, 20, 1, 65535, 1, 1, 1)
    head = struct.pack("!HHI", packet.sport, packet.dport, 0)
    check = struct.pack("<I", _crc32c(head + b"\0\0\0\0" + chunk))
    return head + check + chunk


def ip_packet(packet):
    """The bytes of the IP packet."""
    size = 4 if packet.family == 4 else 16
    source, target = packet.src.to_bytes(size, "big"), packet.dst.to_bytes(size, "big")
    body = _transport(packet, source, target)
    if packet.family == 4:
        offset = {"no": 0x4000 if packet.df else 0, "first": 0x2000, "later": 185}[packet.fragment]
        header = (
            struct.pack("!BBHHHBBH", 0x45, packet.tos, 20 + len(body), 1, offset, packet.ttl, packet.proto, 0)
            + source
            + target
        )
        return header[:10] + struct.pack("!H", _sum16(header)) + header[12:] + body
    chain = b""
    kinds = [*packet.extension_headers, packet.proto]
    for at, kind in enumerate(packet.extension_headers):
        following = kinds[at + 1]
        if kind == 44:
            offset = {"no": 0, "first": 1, "later": 185 << 3}[packet.fragment]
            chain += struct.pack("!BBHI", following, 0, offset, 99)
        elif kind == 43:
            chain += struct.pack("!BBBB", following, 2, 4, 0) + b"\0\0\0\0" + target
        elif kind == 51:
            chain += struct.pack("!BBHIIQ", following, 4, 0, 256, 1, 0)
        else:
            chain += struct.pack("!BB", following, 0) + b"\1\4\0\0\0\0"
    body = chain + body
    return (
        struct.pack("!IHBB", 6 << 28 | packet.tos << 20 | packet.flow_label, len(body), kinds[0], packet.ttl)
        + source
        + target
        + body
    )


class Bench:
    """The namespaces, and the router's rules in a chain of their own: `T`."""

    def __init__(self):
        argv = ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]
        if os.geteuid():
            argv += ["--user", "--map-root-user"]
        agent = Path(__file__).with_name("bench_agent.py")
        self.agent = subprocess.Popen(
            [*argv, sys.executable, str(agent)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._answer()

    def _answer(self):
        line = self.agent.stdout.readline()
        assert line, "the bench died"
        return json.loads(line)

    def ask(self, do, **request):
        self.agent.stdin.write(json.dumps({"do": do, **request}) + "\n")
        self.agent.stdin.flush()
        return self._answer()

    def close(self):
        self.agent.stdin.close()
        self.agent.wait(10)

    def run(self, *argv, netns="router", stdin=""):
        """Run a program, which must succeed, and return what it wrote."""
        done = self.ask("run", argv=list(argv), netns=netns, stdin=stdin)
        assert done["status"] == 0, f"{' '.join(argv)}: {done['err']}\n{stdin}"
        return done["out"]

    def load(
        self, rules, *, family=4, table="mangle", hook="FORWARD", backend="legacy", before=(), to=None, source=None
    ):
        """Load rules that only count; nothing else stays in the table."""
        if hook == "INPUT":
            to = to or ROUTER_IN[family]
        elif hook == "OUTPUT":
            source = source or ROUTER_IN[family]
        text = f"*{table}\n:T - [0:0]\n"
        text += "".join(f"{rule}\n" for rule in before)
        guard = f"-s {source or CLIENT[family]} -d {to or SERVER[family]}"
        text += f"-A {hook} {guard} -j T\n" + "".join(f"-A T {rule}\n" for rule in rules) + "COMMIT\n"
        self.tool, self.table = f"ip{'6' * (family == 6)}tables-{backend}", table
        self.family = family
        self.run(f"{self.tool}-restore", stdin=text)

    def zero(self):
        self.run(self.tool, "-t", self.table, "-Z")

    def saved(self):
        """The rules as the tool prints them, each with the number of packets that hit it."""
        text = self.run(f"{self.tool}-save", "-c", "-t", self.table)
        return [(rule, int(hits)) for hits, rule in re.findall(r"^\[(\d+):\d+\] -A T (.*)$", text, re.MULTILINE)]

    def unload(self):
        self.run(f"{self.tool}-restore", stdin=f"*{self.table}\nCOMMIT\n")

    def send(self, *packets, netns="client", dev="eth0", src_mac=CLIENT_MAC, dst_mac=ROUTER_MAC):
        """Send packets as frames by the client's wire."""
        frames = []
        for packet in packets:
            head = bytes.fromhex((dst_mac + src_mac).replace(":", "")) + (
                b"\x08\x00" if packet.family == 4 else b"\x86\xdd"
            )
            frames.append((head + ip_packet(packet)).hex())
        self.ask("send", netns=netns, dev=dev, frames=frames)

    def flush_conntrack(self):
        self.ask("run", argv=["conntrack", "-F"], netns="router", stdin="")

    def agree(self, rules, packet, *, around=None, send=None, expect=None, **load):
        """Load, send one packet, and compare the kernel's counters with the model's answers, rule by rule."""
        around = around or Around(hook=load.get("hook", "FORWARD"), table=load.get("table", "mangle"))
        self.load(rules, family=packet.family, **load)
        self.flush_conntrack()
        self.zero()
        (send or (lambda: self.send(packet)))()
        found = self.saved()
        self.unload()
        assert len(found) == len(rules)
        kernel = {text: bool(hits) for text, hits in found}
        parsed = {text: Rule("T", 1, text, packet.family) for text in kernel}
        assert [(text, parsed[text].unmodelled) for text in kernel] == [(text, ()) for text in kernel]
        assert [parsed[text].arguments for text in kernel] == list(kernel)
        model = {text: rule.answer(packet.clone(), around) for text, rule in parsed.items()}
        unknown = [text for text, answer in model.items() if not isinstance(answer, bool)]
        assert unknown == []
        assert {text: (kernel[text], model[text]) for text in kernel if kernel[text] != model[text]} == {}, (
            "kernel, model"
        )
        return kernel


@pytest.fixture(scope="session")
def bench():
    made = Bench()
    yield made
    made.close()


@pytest.fixture
def around():
    return Around


@pytest.fixture
def packet_of():
    return make_packet
