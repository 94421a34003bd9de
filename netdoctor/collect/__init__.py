"""The readers, one source each: what the kernel and the runtimes say, as text or netlink, turned into the model's
structs.
"""
