"""Audit entries and alerts, written in the transaction of the change that they are about."""
