"""The demo: a drill workspace, the simulated platforms and the daemon in one command."""
