"""Views of the store for people."""
