"""Users: sign-in rights, factors, and present sign-ins."""
