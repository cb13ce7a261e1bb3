"""Approvals on the dashboard: the inbox, and the pages of a text that waits for them."""
