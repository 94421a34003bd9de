"""The network as a graph: namespaces, interfaces, bridges, tunnels, neighbours, hosts.

Knows nothing of rules or packets' fates.
"""
