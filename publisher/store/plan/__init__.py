"""Accepted schedules, planned deliveries, and what people order."""
