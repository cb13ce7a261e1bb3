"""What is served to the outside: platforms tell us here that something has ended."""
