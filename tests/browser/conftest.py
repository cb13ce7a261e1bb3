"""The dashboard's fixtures, for stories in a real browser."""

from tests.web.conftest import regions, site

__all__ = ["regions", "site"]
