"""Clock, failpoints, logs, redaction: what a process needs before anything else."""
