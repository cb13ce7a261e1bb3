"""What WeChat allows, and how we use it where the operator says nothing.

Sources, read 2026-11-24: developers.weixin.qq.com, draft/add (limits of the fields), API call limits (submit 100 a day,
delete 10 a day), freepublish/submit and freepublish/batchget. How long a submission may act late and how long the list
lags is stated nowhere: five minutes each is our margin over what users report. The settle time is two minutes longer
than both: it begins at our deadline, when a request that WeChat's hosts have received may still wait to be worked on.
"""

from dataclasses import replace
from datetime import timedelta

from publisher.contract import Defaults
from publisher.domain.account import Account, Traits
from publisher.domain.patience import Patience
from publisher.domain.quota import Notices, Quota

TITLE_ADVISED = 32
"""The length that the reference of draft/add states."""
TITLE_LIMIT = 64
"""The length that the console and other clients use; the reference contradicts it, so above 32 we only warn."""
SUMMARY_LIMIT = 120
CONTENT_LIMIT = 19_999
"""`content` is shorter than 20 000 characters; so many can never reach its other limit, 1 MB."""
LINK_BYTES = 1024
COVER_BYTES = 10_000_000
PICTURE_BYTES = 1_000_000
ADDRESS_LENGTH = 160
"""A generous length of the address that takes a picture's place in the content."""
COVER_TYPES = frozenset({"image/bmp", "image/png", "image/jpeg", "image/gif"})
PICTURE_TYPES = frozenset({"image/png", "image/jpeg"})

PUBLISH, MASS = "publish", "mass"
"""What an account may do: publish without a notification, or mass-send what is urgent as well."""
PROFILES = (PUBLISH, MASS)
MASS_PER_DAY = 1
"""What a subscription account has, and what enters a service account's list (developers.weixin.qq.com, Batch_Sends)."""
MASS_QUOTAS = ("mass_per_day", "mass_per_month")
"""Options by which an operator says what an account has been granted: a service account has four a month."""

TRAITS = Traits(
    measure=len,
    text_limit=CONTENT_LIMIT,
    title_limits=(1, TITLE_LIMIT),
    picture_limit=10,
    server_delay=timedelta(minutes=5),
    listing_lag=timedelta(minutes=5),
    readable=None,
    may_resend=True,
    notifies=False,
    is_article=True,
    reach_after=timedelta(hours=32),
    watch_every=timedelta(hours=2),
)
"""A second call is allowed for mass sends alone: WeChat remembers their key. Nothing says that a draft that was
submitted, and still stands, is not published twice.

Figures of a day are ready at eight the next morning. Lists may be read 100 times a day, looks included.
"""

DEFAULTS = Defaults(
    quota=Quota(min_interval=timedelta(seconds=30), per_hour=30, per_day=80),
    patience=Patience(
        request_timeout=timedelta(seconds=30),
        lease_timeout=timedelta(seconds=60),
        visibility_window=timedelta(minutes=12),
        first_check_after=timedelta(seconds=60),
    ),
)


def profile_of(account: Account) -> str:
    return account.profile or PUBLISH


def pushes(account: Account) -> bool:
    """Whether urgent posts of an account are mass sends."""
    return profile_of(account) == MASS


def tag_of(account: Account) -> int | None:
    """Give the tag whose followers receive mass sends, None meaning all. Raises ValueError where it is no number."""
    tag = account.options.get("tag_id")
    return None if tag is None else int(tag)


def traits_of(account: Account) -> Traits:
    return replace(TRAITS, notifies=pushes(account), notices=_notices(account))


def _notices(account: Account) -> Notices:
    """Give how many mass sends an account has: one a day, as for subscription accounts, unless its options differ."""
    given = {name: int(value) for name in MASS_QUOTAS if (value := account.options.get(name, "")).isdecimal()}
    return Notices(per_day=given.get("mass_per_day", MASS_PER_DAY), per_month=given.get("mass_per_month"))
