"""Throw-away nodes: real namespaces built from a topology that is data, and real packets in them."""
