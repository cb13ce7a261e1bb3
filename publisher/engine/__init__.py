"""The daemon's jobs (plan, send, reconcile, retract, monitor, check the clock), and decisions."""
