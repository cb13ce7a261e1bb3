"""Clock, failpoints, logs, redaction and files: what a process needs before anything else."""
