"""The targets of iptables, one file each. A file's name is the target's, in lower case."""
