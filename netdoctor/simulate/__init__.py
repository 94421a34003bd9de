"""A packet's way through the kernel of a snapshot, there and back. Knows nothing of diagnoses or of changes."""
