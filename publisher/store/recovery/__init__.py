"""Start, backup, restore, move; and attempts that a database has lost."""
