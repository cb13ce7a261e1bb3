"""What publisher serves by HTTP: the dashboard for staff, and the address for platforms' callbacks."""
