"""The jobs of the daemon: plan, send, reconcile, retract, monitor, maintain; and decisions of people."""
