"""Monitoring of published posts and of logins."""
