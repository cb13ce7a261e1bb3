"""A receiver's minimum requirements, and the time until its posts appear. Pure.

The source is docs/adapters.md, webhook.
"""

from dataclasses import replace
from datetime import timedelta

from publisher.contract import PlatformDefaults
from publisher.domain.account import Account, Capabilities, RateLimit, Timing

ARTICLE_FORM = "article"
"""The value of the option `form` that makes texts articles in HTML."""

CAPABILITIES = Capabilities(
    count_text=len,
    text_limit=20_000,
    title_limits=(1, 200),
    picture_limit=9,
    server_delay=timedelta(minutes=1),
    listing_lag=timedelta(seconds=10),
    list_size=None,
    can_resend=True,
)
"""A second call is harmless.

It carries the same key, and the receiver returns the existing post.
"""

DEFAULTS = PlatformDefaults(
    rate_limit=RateLimit(min_interval=timedelta(seconds=1), per_hour=600, per_day=5000),
    timing=Timing(
        request_timeout=timedelta(seconds=20),
        lease_timeout=timedelta(seconds=40),
        visibility_window=timedelta(minutes=2),
        first_check_after=timedelta(seconds=15),
    ),
)


def get_capabilities(account: Account) -> Capabilities:
    """Return an account's capabilities.

    The option `form` decides whether its texts are articles.
    """
    return replace(CAPABILITIES, is_article=account.options.get("form") == ARTICLE_FORM)


def get_base_url(account: Account) -> str | None:
    """Return the URL of an account's receiver."""
    address = account.base_url or account.options.get("url")
    return address.rstrip("/") if address else None
