"""What is published, and whether logins work."""
