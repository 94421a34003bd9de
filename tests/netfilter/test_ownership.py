"""Who made a chain or a rule."""

from __future__ import annotations

import pytest

from netdoctor.netfilter.iptables.rule import Rule
from netdoctor.netfilter.ownership import owner


@pytest.mark.parametrize(
    ("chain", "name"),
    [
        ("KUBE-SERVICES", "kube-proxy"), ("KUBE-SVC-ABC", "kube-proxy"), ("KUBE-FIREWALL", "kubelet"),
        ("DOCKER", "docker"),
        ("DOCKER-FORWARD", "docker"), ("NETAVARK-DN-0B9724D220131", "podman"), ("CNI-HOSTPORT-DNAT", "cni"),
        ("cali-FORWARD", "calico"), ("FLANNEL-FWD", "flannel"), ("LIBVIRT_FWI", "libvirt"), ("ufw-user-input", "ufw"),
        ("ufw6-before-input", "ufw"), ("IN_public_allow", "firewalld"), ("FORWARD_direct", "firewalld"),
        ("INPUT_ZONES", "firewalld"), ("ts-forward", "tailscale"), ("ISTIO_OUTPUT", "istio"), ("INPUT", None),
        ("WEB", None),
    ],
)  # fmt: skip
def test_a_chains_name_tells_its_owner(chain, name):
    assert name == owner("ip", "filter", chain)


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("-A INPUT -j KUBE-FIREWALL", "kubelet"),
        ('-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES', "kube-proxy"),
        ("-A FORWARD -j DOCKER-USER", "docker"),
        ("-A FORWARD -i docker0 -o docker0 -j ACCEPT", "docker"),
        ("-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE", "docker"),
        ("-A POSTROUTING -s 172.17.0.2/32 -d 172.17.0.2/32 -p tcp -m tcp --dport 80 -j MASQUERADE", "docker"),
        ('-A POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG', "flannel"),
        ('-A INPUT -m comment --comment "netdoctor:hairpin-snat-missing" -j ACCEPT', "netdoctor"),
        ('-A DOCKER-USER -m comment --comment "netdoctor:x" -j ACCEPT', "netdoctor"),
        ("-A DOCKER-USER -j RETURN", "docker"),
        ("-A DOCKER-USER -s 10.0.0.0/8 -j DROP", None),
        ("-A CNI-ADMIN -s 10.0.0.0/8 -j DROP", None),
        ("-A KUBE-SEP-X -s 10.0.0.1/32 -j KUBE-MARK-MASQ", "kube-proxy"),
        ("-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT", None),
        ('-A INPUT -m comment --comment "-j KUBE-SERVICES" -j DROP', None),
        ("-A FORWARD -o virbr0 -j ACCEPT", "libvirt"),
    ],
)
def test_a_rule_tells_by_its_chain_comment_target_or_interface(line, name):
    chain, _, text = line.removeprefix("-A ").partition(" ")
    comment = Rule(chain, 1, text, 4).comment
    assert (name, name) == (owner("ip", "nat", chain, line, comment), owner("ip", "nat", chain, text, comment))
