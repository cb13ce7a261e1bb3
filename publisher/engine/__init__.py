"""The jobs of the daemon: plan, send, reconcile, retract, monitor, maintain; one file each."""
