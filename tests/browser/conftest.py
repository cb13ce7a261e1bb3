"""The dashboard's fixtures, for stories in a real browser."""

from playwright.async_api import expect

from tests.web.conftest import regions, site, staff_dir

__all__ = ["regions", "site", "staff_dir"]

expect.set_options(
    timeout=30_000
)  # milliseconds, on a machine that is busy with other tests
