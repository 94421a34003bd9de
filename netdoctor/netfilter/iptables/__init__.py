"""The rulesets of iptables and ip6tables, as their save tools write them."""
