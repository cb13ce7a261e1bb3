"""The store as its users see it."""

from publisher.store.base import BaseStore


class Store(BaseStore):
    """One worker's access to the database."""
