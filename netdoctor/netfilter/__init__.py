"""Rulesets as objects: parsed, printed back, and asked what they do with a packet. Knows nothing of routes or namespaces."""
