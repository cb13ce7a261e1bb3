"""What WeChat allows, our defaults where the operator configures nothing, and what it would refuse or change. Pure.

Sources, read 2026-11-24: developers.weixin.qq.com, draft/add (limits of the fields), API call limits (submit 100 a day,
delete 10 a day), freepublish/submit and freepublish/batchget. How long a submission may act late and how long the list
lags is stated nowhere: five minutes each is our margin over what users report. The visibility window is two minutes
longer than both: it begins at our timeout, when a request that WeChat's hosts have received may still be queued.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from urllib.parse import urlsplit

from publisher.contract import PlatformDefaults
from publisher.domain.account import Account, Capabilities, NotificationLimit, RateLimit, Timing
from publisher.domain.errors import Problem, Severity
from publisher.domain.post import RenderedPost

from .api import find_pictures, insert_picture_urls

MAX_TITLE_LENGTH = 64
"""The length that the console and other clients use; the reference contradicts it, so above 32 we only warn."""
MAX_CONTENT_LENGTH = 19_999
"""`content` is shorter than 20 000 characters, which can never reach its other limit, 1 MB."""

PUBLISH_PROFILE, MASS_PROFILE = "publish", "mass"
"""What an account may do: publish without a notification, or mass-send urgent posts as well."""
PROFILES = (PUBLISH_PROFILE, MASS_PROFILE)
DEFAULT_MASS_SENDS_PER_DAY = 1
"""What a subscription account has, and what enters a service account's list (developers.weixin.qq.com, Batch_Sends)."""
MASS_QUOTA_OPTIONS = ("mass_per_day", "mass_per_month")
"""Options for the mass sends that an account has been granted: a service account has four a month."""
ADVISED_TITLE_LENGTH = 32
"""The length that the reference of draft/add states."""
MAX_SUMMARY_LENGTH = 120
MAX_LINK_BYTES = 1024
MAX_COVER_BYTES = 10_000_000
MAX_PICTURE_BYTES = 1_000_000
PICTURE_URL_LENGTH = 160
"""A generous length of the URL that replaces a picture in the content."""
COVER_MEDIA_TYPES = frozenset({"image/bmp", "image/png", "image/jpeg", "image/gif"})
PICTURE_MEDIA_TYPES = frozenset({"image/png", "image/jpeg"})
FORBIDDEN_TAGS = frozenset({
    "script", "style", "link", "meta", "base", "iframe", "frame", "object", "embed", "form", "input", "textarea",
    "select", "button", "video", "audio",
})  # fmt: skip
"""Tags that WeChat removes or refuses (draft/add: scripts are removed; the rest as converters avoid them)."""
LOST_ATTRIBUTES = frozenset({"class", "id"})
LOST_STYLES = frozenset({"position", "transform", "animation", "font-family"})
"""What the editor drops silently, or readers' phones ignore (converters' common advice, read 2026-11-24)."""
LINK_HOST = "mp.weixin.qq.com"
"""The one host to which an article may link."""
PICTURE_HOST = "mmbiz.qpic.cn"
"""Pictures from other hosts are filtered out."""

CAPABILITIES = Capabilities(
    count_text=len,
    text_limit=MAX_CONTENT_LENGTH,
    title_limits=(1, MAX_TITLE_LENGTH),
    picture_limit=10,
    server_delay=timedelta(minutes=5),
    listing_lag=timedelta(minutes=5),
    list_size=None,
    can_resend=True,
    notifies_followers=False,
    is_article=True,
    first_metrics_after=timedelta(hours=32),
    monitor_interval=timedelta(hours=2),
)
"""A second call is allowed for mass sends alone: WeChat remembers their key. Nothing says that a draft that was
submitted, and still exists, is not published twice.

Figures of a day are ready at eight the next morning. Lists may be read 100 times a day, readbacks included."""

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


def get_tag_id(account: Account) -> int | None:
    """Return the tag whose followers receive mass sends; None means all. Raises ValueError where it is no number."""
    tag = account.options.get("tag_id")
    return None if tag is None else int(tag)


def get_capabilities(account: Account) -> Capabilities:
    quotas = {name: int(value) for name in MASS_QUOTA_OPTIONS if (value := account.options.get(name, "")).isdecimal()}
    return replace(
        CAPABILITIES,
        notifies_followers=can_mass_send(account),
        notification_limit=NotificationLimit(
            per_day=quotas.get("mass_per_day", DEFAULT_MASS_SENDS_PER_DAY), per_month=quotas.get("mass_per_month")
        ),
    )


class _HtmlScanner(HTMLParser):
    """Collects what find_problems checks."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.forbidden_tags: set[str] = set()
        self.lost_styles: set[str] = set()
        self.links: list[str] = []
        self.pictures: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag in FORBIDDEN_TAGS:
            self.forbidden_tags.add(tag)
        self.forbidden_tags.update(name for name in values if name.startswith("on"))
        css_properties = {part.partition(":")[0].strip().lower() for part in values.get("style", "").split(";")}
        self.lost_styles |= (LOST_ATTRIBUTES & values.keys()) | (LOST_STYLES & css_properties)
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag == "img":
            self.pictures.append(values.get("src", ""))


def find_setting_problems(account: Account) -> tuple[Problem, ...]:
    """Return what is wrong with an account's profile or options."""
    problems = []
    profile, tag = get_profile(account), account.options.get("tag_id")
    if profile not in PROFILES:
        facts = {"profile": profile, "known": ", ".join(PROFILES)}
        problems.append(Problem(code="wechat_profile_unknown", facts=facts))
    if tag is not None and not (tag.isascii() and tag.isdigit()):
        problems.append(Problem(code="wechat_tag_invalid", facts={"tag": tag}))
    for name in MASS_QUOTA_OPTIONS:
        quota = account.options.get(name, "1")
        if not (quota.isascii() and quota.isdigit() and int(quota) > 0):
            problems.append(Problem(code="wechat_mass_quota_invalid", facts={"name": name}))
    return tuple(problems)


def find_problems(account: Account, rendered: RenderedPost) -> tuple[Problem, ...]:  # noqa: C901, PLR0912 # a list of guards
    """Return what is wrong with the account's settings, or with an article."""
    problems = list(find_setting_problems(account))

    def report(code: str, severity: Severity = Severity.ERROR, **facts: str) -> None:
        problems.append(Problem(code=code, severity=severity, facts=facts))

    length = len(rendered.title)
    facts = {"length": str(length), "limit": str(MAX_TITLE_LENGTH), "advised": str(ADVISED_TITLE_LENGTH)}
    if not rendered.title.strip():
        report("wechat_title_missing")
    elif length > MAX_TITLE_LENGTH:
        problems.append(Problem(code="wechat_title_too_long", facts=facts))
    elif length > ADVISED_TITLE_LENGTH:
        problems.append(Problem(code="wechat_title_long", severity=Severity.WARNING, facts=facts))

    shown = find_pictures(rendered.text)
    content = insert_picture_urls(rendered.text, dict.fromkeys(shown, "x" * PICTURE_URL_LENGTH))
    for code, length, limit in (
        ("wechat_summary_too_long", len(rendered.summary), MAX_SUMMARY_LENGTH),
        ("wechat_content_too_long", len(content), MAX_CONTENT_LENGTH),
        ("wechat_link_too_long", len((rendered.link or "").encode()), MAX_LINK_BYTES),
        ("wechat_too_many_images", len(rendered.images), CAPABILITIES.picture_limit),
    ):
        if length > limit:
            report(code, length=str(length), limit=str(limit))
    if not rendered.text.strip():
        report("wechat_content_missing")
    # lists must show the marker: without it a lost response could never be resolved
    if not any(rendered.marker.is_in(text) for text in (rendered.link or "", rendered.title, rendered.summary)):
        report("wechat_marker_missing", marker=rendered.marker.code)

    html = _HtmlScanner()
    html.feed(rendered.text)
    html.close()
    for tag in sorted(html.forbidden_tags):
        report("wechat_forbidden_tag", tag=tag)
    for name in sorted(html.lost_styles):
        report("wechat_style_lost", Severity.WARNING, name=name)
    for link in html.links:
        if _get_host(link) != LINK_HOST:
            report("wechat_foreign_link", link=link)
    for url in html.pictures:
        if url.removeprefix("media:") not in shown and _get_host(url) != PICTURE_HOST:
            report("wechat_foreign_image", address=url)
    known = {picture.sha256 for picture in rendered.images}
    for sha256 in shown:
        if sha256 not in known:
            report("wechat_image_unknown", sha256=sha256)
    return (*problems, *_find_picture_problems(rendered, shown))


def _find_picture_problems(rendered: RenderedPost, shown: tuple[str, ...]) -> Iterator[Problem]:
    """Yield what is wrong with the cover, which is the first picture, and with those that the text shows."""
    if not rendered.images:
        yield Problem(code="wechat_cover_missing")
    inside = [picture for picture in rendered.images if picture.sha256 in shown]
    for prefix, pictures, types, limit in (
        ("wechat_cover", rendered.images[:1], COVER_MEDIA_TYPES, MAX_COVER_BYTES),
        ("wechat_image", inside, PICTURE_MEDIA_TYPES, MAX_PICTURE_BYTES),
    ):
        for picture in pictures:
            if picture.media_type not in types:
                yield Problem(code=f"{prefix}_type", facts={"type": picture.media_type})
            if picture.size > limit:
                facts = {"size": str(picture.size), "limit": str(limit)}
                yield Problem(code=f"{prefix}_too_large", facts=facts)


def _get_host(link: str) -> str | None:
    try:
        return urlsplit(link).hostname
    except ValueError:
        return None
