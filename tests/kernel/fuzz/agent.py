"""Builds one network at a time in namespaces, sends real packets in it, and says what the kernel did with them.

Knows nothing of the simulator or of how a network was thought up: one JSON request a line in, one answer a line out.
Clients and servers are sockets of this one process: what the kernel delivers at all, it has delivered when send()
returns, so that a lost packet is known after milliseconds.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import re
import select
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

from tests.kernel import kernel_trace

CLONE_NEWNET = 0x40000000
NETLINK_NETFILTER = 12
RTM_DELNEIGH, RTM_GETNEIGH, NLMSG_DONE, NLM_F_DUMP = 29, 30, 3, 0x301
LASTING = 0x80 | 0x40  # NUD_PERMANENT, NUD_NOARP
_libc = ctypes.CDLL(None, use_errno=True)
STREAMS, DATAGRAMS = {"tcp"}, {"udp"}
ECHO = {4: (socket.IPPROTO_ICMP, 8, 0), 6: (socket.IPPROTO_ICMPV6, 128, 129)}
SOL_RAW, ICMP_FILTER, ICMP6_FILTER = 255, 1, 1
IP_PKTINFO, IP_MTU_DISCOVER, IPV6_MTU_DISCOVER, IP_TRANSPARENT, IPV6_TRANSPARENT = 8, 10, 23, 19, 75
# What every namespace has before its links: nothing waits, nothing is held back, nothing is said unasked.
QUIET = {
    "ipv4/icmp_ratelimit": 0, "ipv6/icmp/ratelimit": 0, "ipv4/tcp_synack_retries": 0,
    "ipv6/conf/all/accept_dad": 0, "ipv6/conf/default/accept_dad": 0,
    "ipv6/conf/all/router_solicitations": 0, "ipv6/conf/default/router_solicitations": 0,
    "ipv6/conf/all/accept_ra": 0, "ipv6/conf/default/accept_ra": 0,
}  # fmt: skip
# What every device has: a namespace has no default of its own for it (net/core/neighbour.c:neigh_parms_alloc).
PROMPT = {"proxy_delay": 0, "retrans_time_ms": 20}
# A step's tool as it is run; the step's text is its input.
TOOLS = {
    "ip": "ip -batch -",
    "ip6": "ip -6 -batch -",
    "bridge": "bridge -batch -",
    "ipset": "ipset restore",
    "nft": "nft -f -",
}


@contextlib.contextmanager
def inside(name):
    """Be in a namespace for a while."""
    before = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    target = os.open(f"/run/netns/{name}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _setns(target)
        yield
    finally:
        _setns(before)
        os.close(target)
        os.close(before)


def _setns(handle):
    if _libc.setns(handle, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


class Agent:
    """One network and its sockets."""

    def __init__(self):
        self.spaces = []
        self.poll = select.epoll()
        self.servers = {}  # descriptor -> (namespace, protocol, socket)
        self.polite = set()
        self.accepted = {}
        self.watchers = {}
        self.watched = False
        self.counted = {}
        self.listeners = {}
        self.token = self.second = b""  # how the first and the second message begin
        self.arrived = None  # the first packet: namespace, source, its port, destination, its port
        self.followed = False  # whether the next packet in the same direction arrived too

    # --- building

    def build(self, spaces, steps):
        """Make namespaces and run tools in them. Returns the steps that failed: their number and what was said."""
        for name in spaces:
            subprocess.run(["ip", "netns", "add", name], check=True)
            self.spaces.append(name)
            with inside(name):
                self._settings([f"{key}={value}" for key, value in QUIET.items()])
                subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        return {"failed": [[at, said] for at, step in enumerate(steps) if (said := self._step(*step))]}

    def step(self, netns, tool, text):
        """Run one tool more."""
        return {"failed": self._step(netns, tool, text)}

    def settle(self):
        """Wait until the kernel has noticed every carrier and every IPv6 address may be used."""
        for netns in self.spaces:
            with inside(netns):
                for folder in Path("/proc/sys/net").glob("ipv[46]/neigh/*"):
                    self._settings([f"{folder}/{name}={value}" for name, value in PROMPT.items()])
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline and not all(self._settled(netns) for netns in self.spaces):
            time.sleep(0.02)
        return {}

    @staticmethod
    def _settled(netns):
        with inside(netns):
            addresses = Path("/proc/thread-self/net/if_inet6").read_text(encoding="ascii").splitlines()
            text = subprocess.run(["ip", "-j", "link"], capture_output=True, text=True, check=False).stdout
        tentative = any(int(line.split()[4], 16) & 0x40 for line in addresses)
        links = json.loads(text or "[]")
        lagging = any("LOWER_UP" in one["flags"] and one["operstate"] in {"DOWN", "LOWERLAYERDOWN"} for one in links)
        return not tentative and not lagging

    def _step(self, netns, tool, text):
        with inside(netns):
            if tool == "sysctl":
                return self._settings(text.split())
            words = TOOLS.get(tool, tool).split()
            done = subprocess.run(words, input=text, capture_output=True, text=True, check=False, errors="replace")
        return (done.stderr or done.stdout or str(done.returncode)) if done.returncode else ""

    @staticmethod
    def _settings(assignments):
        said = ""
        for assignment in assignments:
            name, _, value = assignment.partition("=")
            try:
                Path("/proc/sys/net", name).write_text(value, encoding="ascii")
            except OSError as error:
                said = f"{name}: {error.strerror}"
        return said

    def serve(self, servers):
        """Listen: (namespace, protocol, address, port, device, transparent, polite).

        A polite server answers a datagram from the address that it was sent to, whatever the route says.
        """
        failed = []
        for netns, proto, address, port, dev, transparent, polite in servers:
            with inside(netns):
                try:
                    one = self._listener(proto, address, port, dev, transparent)
                except OSError as error:
                    failed.append([netns, proto, address, port, error.strerror])
                    continue
            self.servers[one.fileno()] = (netns, proto, one)
            if polite:
                self.polite.add(one.fileno())
            self.poll.register(one, select.EPOLLIN)
        return {"failed": failed}

    @staticmethod
    def _listener(proto, address, port, dev, transparent):
        six = address in {"", "::"} or ":" in address
        one = socket.socket(
            socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_STREAM if proto in STREAMS else socket.SOCK_DGRAM
        )
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if six:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, address != "")
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        if not six or address == "":
            one.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        if dev:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, dev.encode())
        if transparent:
            one.setsockopt(
                *((socket.IPPROTO_IPV6, IPV6_TRANSPARENT) if six else (socket.IPPROTO_IP, IP_TRANSPARENT)), 1
            )
        one.bind((address, port))
        if proto in STREAMS:
            one.listen(64)
        one.setblocking(False)
        return one

    def snapshot(self, netns):
        """Take a live snapshot there; returns the document."""
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            status = 1
            try:
                os.close(read)
                _setns(os.open(f"/run/netns/{netns}", os.O_RDONLY))
                from netdoctor.collect import live
                from netdoctor.model import store

                with os.fdopen(write, "wb") as stream:
                    stream.write(store.encode(live.take()))
                status = 0
            finally:
                os._exit(status)
        os.close(write)
        with os.fdopen(read, "rb") as stream:
            document = stream.read()
        os.waitpid(child, 0)
        return {"document": document.decode()}

    def clear(self):
        """Forget the network: no namespace, socket or process of it is left."""
        for group in (self.servers, self.watchers):
            for _, _, one in group.values():
                one.close()
            group.clear()
        for one in self.listeners.values():
            one.close()
        self.listeners.clear()
        self._hang_up()
        self.counted.clear()
        self.polite.clear()
        self.watched = False
        for name in self.spaces:
            subprocess.run(["ip", "netns", "del", name], check=False)
        self.spaces.clear()
        self.poll.close()
        self.poll = select.epoll()
        return {}

    # --- counting

    def count(self, places):
        """Read the counters of (namespace, program) and return what was added since they were last read."""
        added = {}
        for netns, program in places:
            now = self._counters(netns, program)
            before = self.counted.get((netns, program), {})
            self.counted[netns, program] = now
            more = {key: value - before.get(key, 0) for key, value in now.items() if value != before.get(key, 0)}
            added[f"{netns} {program}"] = more
        return {"added": added}

    @staticmethod
    def _counters(netns, program):
        words = ["nft", "-j", "list", "ruleset"] if program == "nft" else [program, "-c"]
        with inside(netns):
            text = subprocess.run(words, capture_output=True, text=True, check=False, errors="replace").stdout
        return _native_counters(text) if program == "nft" else _saved_counters(text)

    # --- the kernel's own trace

    def listen(self, places):
        """Have the kernel tell which rules packets meet in some namespaces."""
        for netns in places:
            with inside(netns):
                self.listeners[netns] = kernel_trace.Listener()
        return {}

    def heard(self):
        """Return what it told since the last time, by namespace."""
        return {"heard": {netns: one.heard() for netns, one in self.listeners.items()}}

    # --- asking

    def ask(self, flow, patience):
        """Send what a flow describes, twice, and return who got it, whether it was answered, and what was said."""
        if not self.watched:
            self._watch()
            self._forget()
        self.token, self.second = (f"{letter}{flow['sport']:07d}".encode() for letter in "nm")
        self.arrived, self.followed = None, False
        pending = self._half_open() if flow["proto"] in STREAMS else set()
        answers, said = 0, None
        one = None
        try:
            with inside(flow["netns"]):
                one = self._client(flow)
                self._begin(one, flow)
            answers, said = self._converse(one, flow, patience)
        except OSError as failure:
            said = errno.errorcode.get(failure.errno or 0, str(failure))
        finally:
            for descriptor, _ in self.poll.poll(0):  # what arrived while the client was told of an error
                if one is None or descriptor != one.fileno():
                    self._served(descriptor)
            if one is not None:
                self._close(one)
            self._hang_up()
        if self.arrived is None and flow["proto"] in STREAMS:
            new = sorted(self._half_open() - pending)
            self.arrived = list(new[0]) if new else None
        lost = not self.followed and self._unresolved(flow["netns"])
        self._forget()  # now: what still waits for a neighbour is answered by an error that belongs to this flow
        return {
            "arrived": self.arrived, "answers": answers, "followed": self.followed, "error": said, "unresolved": lost,
        }  # fmt: skip

    @staticmethod
    def _unresolved(netns):
        """Whether a neighbour of the sender does not answer: then nothing was sent."""
        with inside(netns):
            text = subprocess.run(["ip", "-j", "neigh"], capture_output=True, text=True, check=False).stdout
        return any({"FAILED", "INCOMPLETE"} & set(one.get("state", ())) for one in json.loads(text or "[]"))

    @staticmethod
    def _client(flow):
        six = ":" in flow["dst"]
        family = socket.AF_INET6 if six else socket.AF_INET
        proto = flow["proto"]
        if flow.get("gid") is not None:
            os.setegid(flow["gid"])
        if flow.get("uid") is not None:
            os.seteuid(flow["uid"])
        try:
            if proto == "icmp":
                os.seteuid(os.getuid())
                one = socket.socket(family, socket.SOCK_RAW, ECHO[6 if six else 4][0])
            else:
                one = socket.socket(family, socket.SOCK_STREAM if proto in STREAMS else socket.SOCK_DGRAM)
        finally:
            os.seteuid(os.getuid())
            os.setegid(os.getgid())
        one.setblocking(False)
        if flow.get("mark"):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, flow["mark"])
        if flow.get("dev"):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, flow["dev"].encode())
        level = socket.IPPROTO_IPV6 if six else socket.IPPROTO_IP
        if flow.get("tos"):
            one.setsockopt(level, socket.IPV6_TCLASS if six else socket.IP_TOS, flow["tos"])
        if flow.get("ttl"):
            one.setsockopt(level, socket.IPV6_UNICAST_HOPS if six else socket.IP_TTL, flow["ttl"])
        if flow.get("df") is not None or proto not in STREAMS:
            one.setsockopt(level, IPV6_MTU_DISCOVER if six else IP_MTU_DISCOVER, 2 if flow["df"] else 0)
        return one

    def _begin(self, one, flow):
        port = flow.get("sport") or 0
        if flow["proto"] == "icmp":
            if flow.get("src"):
                one.bind((flow["src"], 0))
            one.connect((flow["dst"], 0))
            return
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind((flow.get("src") or "", port))
        if flow["proto"] in STREAMS:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            failed = one.connect_ex((flow["dst"], flow["dport"]))
            if failed not in {0, errno.EINPROGRESS}:
                raise OSError(failed, os.strerror(failed))
        else:
            one.connect((flow["dst"], flow["dport"]))

    def _converse(self, one, flow, patience):
        stream = flow["proto"] in STREAMS
        self.poll.register(one, select.EPOLLOUT if stream else select.EPOLLIN)
        answers = 0
        if not stream:
            one.send(self._message(flow, 1))
        for _ in range(100):  # a server whose answers are led back to it would never come to rest
            events = self.poll.poll(patience)
            if not events:
                break
            for descriptor, event in events:
                if descriptor != one.fileno():
                    self._served(descriptor)
                elif event & select.EPOLLOUT:
                    failed = one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    if failed:
                        raise OSError(failed, os.strerror(failed))
                    self.poll.modify(one, select.EPOLLIN)
                    one.send(self._message(flow, 1))
                elif self._answered(one, flow, answers + 1):
                    answers += 1
                    if answers == 2:
                        return answers, None
                    one.send(self._message(flow, 2))
        return answers, "timeout"

    def _message(self, flow, number):
        if flow["proto"] in STREAMS:
            return self.token
        if flow["proto"] in DATAGRAMS:
            return (self.token if number == 1 else self.second).ljust(flow["payload"], b".")
        six = ":" in flow["dst"]
        body = self.token.ljust(flow["payload"], b".")
        message = struct.pack("!BBHHH", ECHO[6 if six else 4][1], 0, 0, flow["sport"], number) + body
        return message if six else message[:2] + _checksum(message) + message[4:]

    def _answered(self, one, flow, number):
        try:
            data = one.recv(65536)
        except BlockingIOError:
            return False
        if flow["proto"] != "icmp":
            if not data:
                raise OSError(errno.ECONNRESET, "closed")
            return data.startswith(self.token if number == 1 else self.second)
        six = ":" in flow["dst"]
        message = data if six else data[(data[0] & 15) * 4 :]
        kind = ECHO[6 if six else 4][2]
        wanted = struct.pack("!HH", flow["sport"], number)
        return len(message) >= 8 and message[0] == kind and message[4:8] == wanted

    def _served(self, descriptor):
        if descriptor in self.accepted:
            self._stream(descriptor)
        elif descriptor in self.watchers:
            self._echo(*self.watchers[descriptor])
        elif descriptor in self.servers:
            netns, proto, one = self.servers[descriptor]
            if proto in STREAMS:
                with contextlib.suppress(OSError):
                    new, peer = one.accept()
                    new.setblocking(False)
                    new.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.accepted[new.fileno()] = (netns, peer, new)
                    self.poll.register(new, select.EPOLLIN)
            else:
                self._datagram(netns, one)

    def _stream(self, descriptor):
        netns, peer, one = self.accepted[descriptor]
        try:
            data = one.recv(65536)
        except OSError:
            data = b""
        if not data:
            del self.accepted[descriptor]
            self._close(one)
            return
        if data.startswith(self.token) and self.arrived is None:  # the handshake's packets arrived before it
            own = one.getsockname()
            self.arrived, self.followed = [netns, _plain(peer[0]), peer[1], _plain(own[0]), own[1]], True
        with contextlib.suppress(OSError):
            one.send(data)

    def _datagram(self, netns, one):
        try:
            data, extra, _, peer = one.recvmsg(65536, 256)
        except OSError:
            return
        if data.startswith(self.second):
            self.followed = True
        elif data.startswith(self.token) and self.arrived is None:
            own = next((address for level, kind, value in extra if (address := _destination(level, kind, value))), None)
            self.arrived = [netns, _plain(peer[0]), peer[1], own, one.getsockname()[1]]
        whence = (
            [(level, kind, _as_source(value)) for level, kind, value in extra] if one.fileno() in self.polite else []
        )
        with contextlib.suppress(OSError):
            one.sendmsg([data], whence, 0, peer)

    def _watch(self):
        """See echo requests arrive: the kernel answers them, and a raw socket is shown a copy."""
        self.watched = True
        for netns in self.spaces:
            with inside(netns):
                four = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
                four.setsockopt(SOL_RAW, ICMP_FILTER, struct.pack("I", ~(1 << 8) & 0xFFFFFFFF))
                six = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
                allowed = bytearray(b"\xff" * 32)
                allowed[128 // 32 * 4] &= ~1 & 0xFF
                six.setsockopt(socket.IPPROTO_ICMPV6, ICMP6_FILTER, bytes(allowed))
                six.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
            for family, one in ((4, four), (6, six)):
                one.setblocking(False)
                self.watchers[one.fileno()] = (netns, family, one)
                self.poll.register(one, select.EPOLLIN)

    def _echo(self, netns, family, one):
        try:
            data, extra, _, peer = one.recvmsg(65536, 256)
        except OSError:
            return
        message = data if family == 6 else data[(data[0] & 15) * 4 :]
        if len(message) < 16 or message[8:16] != self.token:
            return
        if message[6:8] == b"\0\2":
            self.followed = True
            return
        if self.arrived is not None:
            return
        if family == 4:
            own = socket.inet_ntop(socket.AF_INET, data[16:20])
        else:
            own = next((address for level, kind, value in extra if (address := _destination(level, kind, value))), None)
        self.arrived = [netns, peer[0].partition("%")[0], struct.unpack("!H", message[4:6])[0], own, None]

    def _forget(self):
        """Empty every connection table and every neighbour cache: no flow finds what another left.

        Kernel: net/netfilter/nf_conntrack_netlink.c:ctnetlink_flush_conntrack
        """
        flush = struct.pack("=IHHII", 20, 1 << 8 | 2, 5, 0, 0) + struct.pack("=BBH", socket.AF_UNSPEC, 0, 0)
        for netns in self.spaces:
            with inside(netns), socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as one:
                one.send(flush)
                one.recv(4096)
            with inside(netns), socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as one:
                for neighbour in _neighbours(one):
                    one.send(struct.pack("=IHHII", 16 + len(neighbour), RTM_DELNEIGH, 5, 0, 0) + neighbour)
                    one.recv(4096)

    def _half_open(self):
        """The connections that a listener has answered and that the client has not confirmed."""
        found = set()
        for netns in self.spaces:
            with inside(netns):
                for name in ("tcp", "tcp6"):
                    for line in Path("/proc/thread-self/net", name).read_text(encoding="ascii").splitlines()[1:]:
                        words = line.split()
                        if words[3] == "03":
                            here, there = _unhex(words[1]), _unhex(words[2])
                            found.add((netns, *there, *here))
        return found

    def _close(self, one):
        with contextlib.suppress(OSError, ValueError, KeyError):
            self.poll.unregister(one)
        one.close()

    def _hang_up(self):
        for _, _, one in self.accepted.values():
            self._close(one)
        self.accepted.clear()
        deadline = time.monotonic() + 0.05
        while time.monotonic() < deadline:  # what is still queued belongs to nobody
            events = self.poll.poll(0)
            if not events:
                break
            for descriptor, _ in events:
                for group in (self.servers, self.watchers):
                    if descriptor in group:
                        with contextlib.suppress(OSError):
                            one = group[descriptor][2]
                            one.accept()[0].close() if group[descriptor][1] in STREAMS else one.recv(65536)


def _neighbours(one):
    """The entries of the ARP and ND caches that were learned, as messages that delete them (rtnetlink(7))."""
    one.send(struct.pack("=IHHII", 28, RTM_GETNEIGH, NLM_F_DUMP, 0, 0) + bytes(12))
    found, done = [], False
    while not done:
        data = one.recv(1 << 18)
        while data:
            length, kind = struct.unpack_from("=IH", data)
            message, data = data[16:length], data[(length + 3) & ~3 :]
            done = done or kind == NLMSG_DONE
            if kind == NLMSG_DONE or struct.unpack_from("=H", message, 8)[0] & LASTING:
                continue
            at = 12
            while at + 4 <= len(message):
                size, attribute = struct.unpack_from("=HH", message, at)
                if attribute == 1:  # NDA_DST
                    found.append(message[:12] + message[at : at + ((size + 3) & ~3)])
                at += max((size + 3) & ~3, 4)
    return found


def _plain(address):
    return address.removeprefix("::ffff:").partition("%")[0]


def _destination(level, kind, value):
    if level == socket.IPPROTO_IP and kind == IP_PKTINFO:
        return socket.inet_ntop(socket.AF_INET, value[8:12])
    if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO:
        return _plain(socket.inet_ntop(socket.AF_INET6, value[:16]))
    return None


def _as_source(value):
    """What a datagram's destination was, as the source of an answer: no interface, in_pktinfo's ipi_spec_dst set."""
    return struct.pack("=i", 0) + value[8:12] + b"\0" * 4 if len(value) == 12 else value[:16] + struct.pack("=i", 0)


def _unhex(text):
    """`0100007F:1F90` of /proc/net/tcp: words in the machine's order."""
    address, port = text.split(":")
    raw = b"".join(bytes.fromhex(address[at : at + 8])[::-1] for at in range(0, len(address), 8))
    family = socket.AF_INET if len(raw) == 4 else socket.AF_INET6
    return _plain(socket.inet_ntop(family, raw)), int(port, 16)


def _checksum(message):
    padded = message + b"\0" * (len(message) % 2)
    total = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    total = (total >> 16) + (total & 0xFFFF)
    return struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF)


def _saved_counters(text):
    """`TABLE CHAIN NUMBER` -> packets; number 0 is the policy."""
    found, table, numbers = {}, "", {}
    for line in text.splitlines():
        if line.startswith("*"):
            table, numbers = line[1:], {}
        elif line.startswith(":"):
            words = line[1:].split()
            if words[1] != "-":
                found[f"{table} {words[0]} 0"] = int(words[2][1:].partition(":")[0])
        elif line.startswith("["):
            packets, chain = re.match(r"\[(\d+):\d+\] -A (\S+)", line).groups()
            numbers[chain] = numbers.get(chain, 0) + 1
            found[f"{table} {chain} {numbers[chain]}"] = int(packets)
    return found


def _native_counters(text):
    """`FAMILY TABLE CHAIN HANDLE` -> packets, of rules that count."""
    found = {}
    begin = text.find("{")
    for item in json.loads(text[begin:])["nftables"] if begin >= 0 else ():
        rule = item.get("rule")
        if rule is None:
            continue
        for statement in rule.get("expr", ()):
            counter = statement.get("counter") if isinstance(statement, dict) else None
            if isinstance(counter, dict):
                found[f"{rule['family']} {rule['table']} {rule['chain']} {rule['handle']}"] = counter["packets"]
    return found


def main():
    agent = Agent()
    print("ready", flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        verb = request.pop("do")
        print(json.dumps(getattr(agent, verb)(**request)), flush=True)


if __name__ == "__main__":
    main()
