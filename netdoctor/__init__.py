"""netdoctor finds out why a packet does not arrive on a Linux container host, and repairs it with proof."""

__version__ = "0.1.0"
