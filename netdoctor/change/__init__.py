"""Changes as data: each can be laid over a snapshot, undone, compared with what is there, and printed as shell."""
