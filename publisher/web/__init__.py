"""The HTTP server of publisher: the staff dashboard, and the address for platforms' callbacks."""
