"""Connection, transactions, tables, audit entries, alerts, and the files beside the database."""
