"""The HTTP server for platforms' callbacks."""
