"""Connection, transactions, tables, and the files beside the database."""
