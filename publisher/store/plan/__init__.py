"""Accepted schedules, planned deliveries, and people's orders."""
