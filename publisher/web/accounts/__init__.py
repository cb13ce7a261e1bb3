"""Accounts on the dashboard: health, modes, pauses, and the way out of an account."""
