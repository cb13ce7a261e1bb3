"""What is published, whether logins work, and alerts about the system."""
