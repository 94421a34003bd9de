"""Rulesets as objects: parsed, printed back, asked what they do with a packet. Knows no routes and no namespaces."""
