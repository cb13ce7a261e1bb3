"""The calendar of deliveries."""
