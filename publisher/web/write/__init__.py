"""Writing on the dashboard: new posts, edits, moves, removals, and the emergency lane."""
