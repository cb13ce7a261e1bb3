"""What a receiver must accept at least, and how long its posts take to appear (docs/adapters.md, webhook). Pure."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from publisher.contract import PlatformDefaults
from publisher.domain.account import Account, Capabilities, RateLimit, Timing
from publisher.domain.errors import Problem
from publisher.domain.post import RenderedPost

ARTICLE_FORM = "article"
"""The value of the option `form` that makes texts articles in HTML."""
PICTURE_MEDIA_TYPES = frozenset({"image/jpeg", "image/png", "image/gif"})
MAX_PICTURE_BYTES = 5 * 1024 * 1024

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
"""A second call is harmless: it carries the same key, and the receiver returns the existing post."""

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
    """Return an account's capabilities: the option `form` decides whether its texts are articles."""
    return replace(CAPABILITIES, is_article=account.options.get("form") == ARTICLE_FORM)


def get_base_url(account: Account) -> str | None:
    """Return the URL at which an account's receiver listens."""
    address = account.base_url or account.options.get("url")
    return address.rstrip("/") if address else None


def find_problems(account: Account, rendered: RenderedPost) -> Sequence[Problem]:
    problems: list[Problem] = []

    def report(code: str, **facts: str) -> None:
        problems.append(Problem(code=code, facts=facts))

    url = get_base_url(account)
    if url is None or not url.startswith(("http://", "https://")):
        report("webhook_no_address", account=account.id)
    shortest, longest = CAPABILITIES.title_limits
    length = CAPABILITIES.count_text(rendered.title.strip())
    if not shortest <= length <= longest:
        report("webhook_title_length", length=str(length), shortest=str(shortest), longest=str(longest))
    length = CAPABILITIES.count_text(rendered.text)
    if length > CAPABILITIES.text_limit:
        report("webhook_text_too_long", length=str(length), limit=str(CAPABILITIES.text_limit))
    if len(rendered.images) > CAPABILITIES.picture_limit:
        report("webhook_too_many_images", count=str(len(rendered.images)), limit=str(CAPABILITIES.picture_limit))
    for picture in rendered.images:
        if picture.media_type not in PICTURE_MEDIA_TYPES:
            report("webhook_image_type", type=picture.media_type)
        if picture.size > MAX_PICTURE_BYTES:
            report("webhook_image_size", megabytes=f"{picture.size / 1024 / 1024:.1f}")
    return tuple(problems)
