"""The jobs of the daemon: plan, send, reconcile, retract, monitor, check the clock; and decisions of people."""
