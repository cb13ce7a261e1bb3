"""Health of the dashboard for monitors: `/healthz` and `/metrics`."""
