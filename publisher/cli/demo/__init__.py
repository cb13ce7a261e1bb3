"""The demonstration: a drill workspace, the simulated platforms, and the daemon, in one command."""
