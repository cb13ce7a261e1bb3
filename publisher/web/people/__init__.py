"""People on the dashboard: sign-in, users, links, and the visitor's own settings."""
