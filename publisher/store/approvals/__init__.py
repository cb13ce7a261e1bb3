"""Approvals: may a post be sent, the decisions of people, and who is on duty."""
