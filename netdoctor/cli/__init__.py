"""The commands of INTERFACE.md: reads arguments, asks the rooms, prints. Knows nothing that a room could know."""
