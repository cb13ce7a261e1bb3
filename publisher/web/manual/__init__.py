"""Posts by hand on the dashboard: the tasks, and the report of a task."""
