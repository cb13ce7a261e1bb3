"""WeChat's limits and calls, and our defaults if the operator configures nothing. Pure.

Sources, read 2026-11-24: developers.weixin.qq.com, draft/add (limits of the fields), API call
limits (submit 100 a day, delete 10 a day), freepublish/submit and freepublish/batchget. How long a
submission may act late and how long the list lags is stated nowhere. Five minutes each is our
margin over the reports of users. The visibility window is two minutes longer than both. It begins
at our timeout, when a request that WeChat's hosts have received may still be queued.
"""

from dataclasses import replace
from datetime import timedelta

from publisher.contract import PlatformDefaults
from publisher.domain.account import (
    Account,
    Capabilities,
    NotificationLimit,
    RateLimit,
    Timing,
)
from publisher.domain.post import RenderedPost

MAX_TITLE_LENGTH = 64
"""The length that the console and other clients use.

The reference contradicts it, so above 32 we only warn.
"""
MAX_CONTENT_LENGTH = 19_999
"""Maximum length of `content`, shorter than 20 000 characters.

It can never reach its other limit, 1 MB.
"""
MAX_PICTURE_BYTES = 1_000_000
"""Of a picture inside an article: media/uploadimg takes less than 1 MB."""

PUBLISH_PROFILE, MASS_PROFILE = "publish", "mass"
"""Profiles: publish without a notification, or mass-send urgent posts as well."""
PROFILES = (PUBLISH_PROFILE, MASS_PROFILE)
MASS_SEND, FREE_PUBLISH = "mass", "freepublish"
"""The two calls that publish an article, as they are stored with each attempt."""
DEFAULT_MASS_SENDS_PER_DAY = 1
"""Daily mass sends of a subscription account, or in the list of a service account.

The source is developers.weixin.qq.com, Batch_Sends.
"""
MASS_QUOTA_OPTIONS = ("mass_per_day", "mass_per_month")
"""Options for the mass sends that an account has been granted.

A service account has four a month.
"""

CAPABILITIES = Capabilities(
    count_text=len,
    text_limit=MAX_CONTENT_LENGTH,
    title_limits=(1, MAX_TITLE_LENGTH),
    picture_limit=10,
    max_picture_bytes=MAX_PICTURE_BYTES,
    server_delay=timedelta(minutes=5),
    listing_lag=timedelta(minutes=5),
    list_size=None,
    can_resend=True,
    notifies_followers=False,
    is_article=True,
    first_metrics_after=timedelta(hours=32),
    monitor_interval=timedelta(hours=2),
)
"""A second call is allowed after a mass send alone: WeChat remembers its key.

Nothing says that a draft that was submitted, and still exists, is not published twice.

Figures of a day are ready at eight the next morning. Lists may be read 100 times a day, readbacks
included.
"""

DEFAULTS = PlatformDefaults(
    rate_limit=RateLimit(min_interval=timedelta(seconds=30), per_hour=30, per_day=80),
    timing=Timing(
        request_timeout=timedelta(seconds=30),
        lease_timeout=timedelta(seconds=60),
        visibility_window=timedelta(minutes=12),
        first_check_after=timedelta(seconds=60),
    ),
)


def get_profile(account: Account) -> str:
    return account.profile or PUBLISH_PROFILE


def can_mass_send(account: Account) -> bool:
    """True if urgent posts of an account are mass sends."""
    return get_profile(account) == MASS_PROFILE


def get_call_method(
    account: Account,
    rendered: RenderedPost,  # noqa: ARG001
    *,
    is_urgent: bool,
) -> str:
    """Return the call that would publish a post now."""
    return MASS_SEND if is_urgent and can_mass_send(account) else FREE_PUBLISH


def get_tag_id(account: Account) -> int | None:
    """Return the tag of the followers that receive mass sends; None means all.

    Raises ValueError if it is no number.
    """
    tag = account.options.get("tag_id")
    return None if tag is None else int(tag)


def get_capabilities(account: Account) -> Capabilities:
    quotas = {
        name: int(value)
        for name in MASS_QUOTA_OPTIONS
        if (value := account.options.get(name, "")).isdecimal()
    }
    return replace(
        CAPABILITIES,
        posting_url="https://mp.weixin.qq.com/",
        has_preview=True,
        notifies_followers=can_mass_send(account),
        notification_limit=NotificationLimit(
            per_day=quotas.get("mass_per_day", DEFAULT_MASS_SENDS_PER_DAY),
            per_month=quotas.get("mass_per_month"),
        ),
    )
