"""The books: all SQL stands here."""
