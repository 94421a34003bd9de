"""Native nftables: what `nft -j list ruleset` says, as objects with their meaning. Source: libnftables-json(5).

Knows nothing of hooks' order or of what becomes of a packet.
"""

from netdoctor.netfilter.nft.survey import NativeTables, is_of_iptables, tables

__all__ = ["NativeTables", "is_of_iptables", "tables"]
