"""Random networks and rulesets, asked of the simulator and of the kernel: `./dev kernel-diff SECONDS`."""
