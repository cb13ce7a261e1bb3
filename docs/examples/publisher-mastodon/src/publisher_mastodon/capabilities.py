"""Mastodon's limits and delays, each with its source, and the posts that it would refuse. Pure."""

import re
from collections.abc import Sequence
from datetime import timedelta

from publisher.contract import PlatformDefaults
from publisher.domain.account import Account, Capabilities, RateLimit, Timing
from publisher.domain.errors import Problem
from publisher.domain.post import RenderedPost

DEFAULT_MAX_CHARACTERS = 500
"""`configuration.statuses.max_characters` of GET /api/v2/instance.

A server may set another (option max_characters).
"""
LINK_CHARACTERS = 23
"""`characters_reserved_per_url`: every link counts as so many, whatever its length."""
MAX_PICTURES = 4
"""`max_media_attachments`."""
MAX_PICTURE_BYTES = 16 * 1024 * 1024
MAX_ALT_CHARACTERS = 1500
PICTURE_MEDIA_TYPES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
_LINK = re.compile(r"https?://[\w.~:/?#@!$&*+,;=%-]*[\w/#=&%-]", re.ASCII)
_IDENTITY = re.compile(r"[A-Za-z0-9_.-]+@[A-Za-z0-9.-]+(:[0-9]+)?", re.ASCII)

DEFAULTS = PlatformDefaults(
    # 300 calls in 5 minutes and 30 uploads in 30 minutes: api/rate-limits;
    # 300 posts in 3 hours: the server's source
    rate_limit=RateLimit(min_interval=timedelta(seconds=5), per_hour=60, per_day=500),
    timing=Timing(
        request_timeout=timedelta(seconds=20),
        lease_timeout=timedelta(seconds=60),
        visibility_window=timedelta(minutes=3),
        first_check_after=timedelta(seconds=10),
    ),
)


def count_text(text: str) -> int:
    """Count as Mastodon does: links as 23 characters.

    Mastodon counts an emoji of several code points as one character. Each is counted here, so a
    text may be called too long that Mastodon would accept, never the reverse.
    """
    links = _LINK.findall(text)
    return len(text) + sum(LINK_CHARACTERS - len(link) for link in links)


def get_capabilities(account: Account) -> Capabilities:
    option = account.options.get("max_characters", "")
    return Capabilities(
        count_text=count_text,
        text_limit=int(option) if option.isdecimal() else DEFAULT_MAX_CHARACTERS,
        title_limits=(
            0,
            10_000,
        ),  # there is no title; the template prints it into the text
        picture_limit=MAX_PICTURES,
        # a web server ends a call after a minute, usual for nginx and puma
        server_delay=timedelta(minutes=1),
        listing_lag=timedelta(
            seconds=30
        ),  # not documented; where a server reads from replicas
        list_size=None,
        can_resend=True,
        can_retract=account.options.get("can_delete")
        != "no",  # snac 2.75 has no call for it
    )


def get_base_url(account: Account) -> str:
    """Return the server's address: the identity's host, or the option `server` if set."""
    address = (
        account.base_url
        or account.options.get("server")
        or f"https://{account.identity.partition('@')[2]}"
    )
    return address.rstrip("/")


def find_problems(account: Account, rendered: RenderedPost) -> Sequence[Problem]:
    problems: list[Problem] = []

    def report(code: str, **facts: str) -> None:
        problems.append(Problem(code=code, facts=facts))

    limit = get_capabilities(account).text_limit
    if (length := count_text(rendered.text)) > limit:
        report("mastodon_text_too_long", length=str(length), limit=str(limit))
    if len(rendered.images) > MAX_PICTURES:
        report(
            "mastodon_too_many_images",
            count=str(len(rendered.images)),
            limit=str(MAX_PICTURES),
        )
    for picture in rendered.images:
        if picture.media_type not in PICTURE_MEDIA_TYPES:
            report("mastodon_image_type", type=picture.media_type)
        if picture.size > MAX_PICTURE_BYTES:
            report("mastodon_image_size", megabytes=f"{picture.size / 1024 / 1024:.1f}")
        if len(picture.alt) > MAX_ALT_CHARACTERS:
            report(
                "mastodon_alt_too_long",
                length=str(len(picture.alt)),
                limit=str(MAX_ALT_CHARACTERS),
            )
    return problems


def find_account_problems(account: Account) -> Sequence[Problem]:
    """Return what is wrong with an account's settings, whether or not a post goes there."""
    if _IDENTITY.fullmatch(account.identity):
        return ()
    return (
        Problem(
            code="mastodon_identity",
            facts={"key": "identity", "identity": account.identity},
        ),
    )
