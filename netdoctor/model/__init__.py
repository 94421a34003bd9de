"""The snapshot's data, its file format, and the words that cross every wall: flows and errors."""
