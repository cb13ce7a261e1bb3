"""Clock, failpoints, logs and redaction: the first needs of a process."""
