"""The matches of iptables, one file each. A file's name is the match's."""
