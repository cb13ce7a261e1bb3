"""HTTP: the server, its middleware, its supervisor, and the address of platforms' callbacks."""
