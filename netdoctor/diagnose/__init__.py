"""The catalogue and what it is asked about: rules, findings, the flows that matter on this node, reports."""
