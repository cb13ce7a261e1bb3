"""Posts as staff write them, and their final text and images for one account.

The final text holds the marker that identifies it.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal, NewType

from publisher.domain.account import AccountId, Platform
from publisher.domain.characters import normalize_compatible
from publisher.domain.cover import CropPosition
from publisher.domain.kinds import PostKind
from publisher.domain.results import Receipt

PostId = NewType("PostId", str)
DeliveryId = NewType("DeliveryId", int)
Fingerprint = NewType("Fingerprint", str)

ONCE_OCCURRENCE = "once"
"""The name of a one-time post's only occurrence.

An occurrence of a repeating post is named by its due time.
"""


MEMBER_MARK = "."
"""Between the name of a family and the code of a region. No id that people write has it."""


def name_member(family: str, code: str) -> PostId:
    """Return the id of a family's post for one region."""
    return PostId(f"{family}{MEMBER_MARK}{code}")


def find_family(post: str) -> str:
    """Return the name of a post's family: the id that people wrote."""
    return post.partition(MEMBER_MARK)[0]


def is_same_in_any_form(one: str, other: str) -> bool:
    """Return True if two ids are of one post, or one of them is the family of the other."""
    return one == other or find_family(other) == one or find_family(one) == other


def format_delivery_name(post: str, occurrence: str, account: str) -> str:
    """Return the name of a delivery as people type it.

    It is POST@ACCOUNT, or POST#TIME@ACCOUNT for a repeating post.
    """
    instant = "" if occurrence == ONCE_OCCURRENCE else f"#{occurrence}"
    return f"{post}{instant}@{account}"


class WarningLevel(StrEnum):
    RED = "red"
    ORANGE = "orange"
    YELLOW = "yellow"
    BLUE = "blue"


@dataclass(frozen=True, slots=True, kw_only=True)
class OneTimeTrigger:
    """Due once: at `at`, or as soon as it is stored if `at` is None."""

    at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CronTrigger:
    """Due repeatedly, by a cron expression in the workspace's time zone."""

    text: str
    since: datetime | None = None
    until: datetime | None = None
    days: Literal["all", "working"] = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class EvergreenTrigger:
    """Due when a person schedules it, for one account at a time."""

    is_evergreen: Literal[True] = True


Trigger = OneTimeTrigger | CronTrigger | EvergreenTrigger


def has_time(trigger: Trigger) -> bool:
    """Return True if people chose the time at which a post is due, as its texts print it.

    A post that goes as soon as it may waits for its approvals, perhaps until the next day.
    """
    return not isinstance(trigger, OneTimeTrigger) or trigger.at is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class PostImage:
    """An image of a post: a file of the workspace and its alternative text.

    The positions say how it is cut as the cover of an article; None leaves it to the platform.
    """

    file: str
    alt: str
    crop_wide: CropPosition | None = None
    crop_square: CropPosition | None = None

    @property
    def crops(self) -> Mapping[str, CropPosition | None]:
        return {"wide": self.crop_wide, "square": self.crop_square}


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """An entry of schedule.toml. `accounts` is `to`, resolved.

    `content_hash` covers everything that staff wrote but `at` and `to`. `target_hash` covers these
    two and cron times.
    """

    id: PostId
    kind: PostKind
    template: str
    author: str
    title: str
    trigger: Trigger
    accounts: tuple[AccountId, ...]
    content_hash: str
    body: str = ""
    level: WarningLevel | None = None
    follows: PostId | None = None
    expires_at: datetime | None = None
    max_delay: timedelta = timedelta(minutes=30)
    is_urgent: bool = False
    images: tuple[PostImage, ...] = ()
    text_by_platform: Mapping[Platform, str] = field(default_factory=dict)
    data: Mapping[str, object] = field(default_factory=dict)
    target_hash: str = ""

    @property
    def checker(self) -> str:
        """The person that the signature names as the checker; empty if it names nobody.

        An urgent post may say EMERGENCY_CHECKER, and names nobody so.
        """
        checker = str(self.data.get("checker", "")).strip()
        return "" if self.is_urgent and checker == EMERGENCY_CHECKER else checker


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """All posts of one accepted file, in file order."""

    posts: tuple[Post, ...]


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class OccurrenceKey:
    """Identifies one occurrence of a post: `once`, or the due time in ISO 8601, UTC."""

    post: PostId
    occurrence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Occurrence:
    """One occurrence.

    `due_at` of a one-time post may change before its first intent. The key never does.
    """

    key: OccurrenceKey
    due_at: datetime
    expires_at: datetime


EMERGENCY_CHECKER = "值班放行"
"""What an urgent post says in place of a checker, so that officers on duty can release it."""
DEFAULT_LIFETIME = timedelta(hours=24)


def name_ordered_occurrence(ordered_at: datetime) -> str:
    """Return the name of an occurrence that a person has ordered.

    Its fraction of a second sets it apart from the instants of cron.
    """
    return ordered_at.isoformat(timespec="microseconds")


def make_occurrence(post: Post, occurrence: str, due_at: datetime) -> Occurrence:
    """Return an occurrence that expires when the post says, else a day after it is due."""
    return Occurrence(
        key=OccurrenceKey(post=post.id, occurrence=occurrence),
        due_at=due_at,
        expires_at=post.expires_at or due_at + DEFAULT_LIFETIME,
    )


_MARKER_ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"


@dataclass(frozen=True, slots=True, kw_only=True)
class Marker:
    """A bulletin number such as `K7QM-4R2T`, unique to one delivery, that identifies its post."""

    code: str

    def is_in(self, text: str) -> bool:
        """True if a text contains the marker, ignoring case, width, spaces and brackets."""
        return self.normalized in normalize(text)

    @property
    def normalized(self) -> str:
        return normalize(self.code)


def derive_marker(key: OccurrenceKey, account: AccountId) -> Marker:
    """Derive a delivery's marker from its key alone.

    A preview therefore shows the marker that will be sent.
    """
    digest = hashlib.sha256(
        f"{key.post}\n{key.occurrence}\n{account}".encode()
    ).digest()
    number = int.from_bytes(digest[:8], "big")
    letters = ""
    for _ in range(8):
        number, index = divmod(number, len(_MARKER_ALPHABET))
        letters += _MARKER_ALPHABET[index]
    return Marker(code=f"{letters[:4]}-{letters[4:]}")


def derive_part_marker(marker: Marker, number: int, total: int) -> Marker:
    """Return the marker of part `number` of `total`; the post itself is part 1."""
    return Marker(code=f"接上层，{number}/{total}）〔{marker.code}")


def format_part_prefix(marker: Marker, number: int, total: int) -> str:
    """Return the text that a further part begins with."""
    return f"（{derive_part_marker(marker, number, total).code}〕"


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedImage:
    """An image of a rendered post; its bytes are stored by their hash.

    `crop_wide` and `crop_square` are corners `X1_Y1_X2_Y2` of an article's cover, as fractions.
    They are empty where the platform cuts by itself.
    """

    sha256: str
    media_type: str
    size: int
    width: int
    height: int
    alt: str
    crop_wide: str = ""
    crop_square: str = ""

    @property
    def crops(self) -> Mapping[str, str]:
        return {"wide": self.crop_wide, "square": self.crop_square}

    @property
    def file_suffix(self) -> str:
        return self.media_type.removeprefix("image/").replace("jpeg", "jpg")


_CROP_FIELDS = ("crop_wide", "crop_square")
MEDIA_REFERENCE = re.compile(r"media:([0-9a-f]{64})")
"""An image inside an article; see RenderedPost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedPost:
    """The exact content for one account. `text` is plain text, or the HTML of an article.

    Inside an article an image is `<img src="media:SHA256">`; the adapter replaces this with the
    platform's address of the uploaded image and changes nothing else. `link` is an address that
    contains the marker. `extra_parts` are the further parts of a long text, in order, each
    beginning with its prefix.
    """

    account: AccountId
    platform: Platform
    marker: Marker
    title: str
    text: str
    summary: str = ""
    link: str | None = None
    images: tuple[RenderedImage, ...] = ()
    extra_parts: tuple[str, ...] = ()

    @property
    def fields(self) -> Mapping[str, object]:
        """Everything that is stored and approved, as JSON has it.

        A crop that is not asked for is left out, as in texts stored before there were any.
        """
        fields = asdict(self)
        for image in fields["images"]:
            for name in _CROP_FIELDS:
                if not image[name]:
                    del image[name]
        return fields

    @property
    def fingerprint(self) -> Fingerprint:
        return fingerprint(self.fields)

    @property
    def all_parts(self) -> tuple[str, ...]:
        """The whole text: the post itself, then its further parts."""
        return (self.text, *self.extra_parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedRevision:
    """The rendered posts of one occurrence; `id` is a hash of them all."""

    content_hash: str
    rendered_posts: tuple[RenderedPost, ...]

    @property
    def id(self) -> Fingerprint:
        return fingerprint(
            [
                self.content_hash,
                sorted(rendered.fingerprint for rendered in self.rendered_posts),
            ]
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FiledTexts:
    """The stored texts of an occurrence that waits for calls, by account: the texts to be sent.

    They were rendered for `due_at`, or for `scheduled_at` if a person has moved the occurrence
    since. `has_started`: one of its creating calls has begun, or may have.
    """

    key: OccurrenceKey
    content_hash: str
    due_at: datetime
    scheduled_at: datetime
    expires_at: datetime
    has_started: bool
    texts: Mapping[AccountId, Fingerprint]


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """The state of the account before an attempt.

    It holds the newest known id, and a time that is surely before the call.
    """

    newest_id: str | None
    taken_at: datetime

    def includes(
        self, remote_id: str, created_at: datetime, *, are_ids_ascending: bool = False
    ) -> bool:
        """True if a post with this id existed before the call.

        Platforms may keep whole seconds while the baseline carries fractions of one: a second is
        tolerated.
        """
        newest = self.newest_id or ""
        if (
            are_ids_ascending
            and newest.isdecimal()
            and remote_id.isdecimal()
            and int(remote_id) <= int(newest)
        ):
            return True
        return remote_id == self.newest_id or created_at <= self.taken_at - timedelta(
            seconds=1
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SendRequest:
    """One committed attempt, as the adapter receives it.

    `start_by` is a time of the monotonic clock in seconds. After it the lease may belong to another
    worker, or the post has expired, and no first byte may be sent. `images` are the bytes of
    `rendered.images`. `owned_ids` are remote ids of other deliveries. They are set for reading only
    and empty for publishing. `is_urgent` selects the call that notifies, on platforms that have
    two. With `is_manual` a person publishes it and no call is made. `resend_after_attempt` is the
    number of the attempt before a person's order of the present one, 0 without such an order.
    Uploads used up by earlier attempts are repeated. `part` is 0 for the post itself; a further
    part goes under the post of `parent`. `fencing_token` is the lease's. `identity` and `method`
    belong to the attempt. In a readback they may differ from the present settings. Only they give
    the post's place and the call that made it. `method` is empty if nobody knows it.
    """

    delivery: DeliveryId
    attempt: int
    account: AccountId
    rendered: RenderedPost
    images: tuple[bytes, ...]
    baseline: Baseline
    intended_at: datetime
    start_by: float
    owned_ids: frozenset[str] = frozenset()
    is_urgent: bool = False
    is_manual: bool = False
    part: int = 0
    parent: Receipt | None = None
    fencing_token: int = 0
    resend_after_attempt: int = 0
    identity: str = ""
    method: str = ""

    @property
    def text(self) -> str:
        """The text of the part that this attempt sends."""
        return self.rendered.all_parts[self.part]

    @property
    def marker(self) -> Marker:
        """The marker of the post, or of this further part."""
        if not self.part:
            return self.rendered.marker
        return derive_part_marker(
            self.rendered.marker, self.part + 1, len(self.rendered.all_parts)
        )


def fingerprint(value: object) -> Fingerprint:
    """Return the SHA-256 of a value's canonical JSON."""
    canonical = json.dumps(
        value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=str
    )
    return Fingerprint(hashlib.sha256(canonical.encode()).hexdigest())


def normalize(text: str) -> str:
    """Reduce a text to the part that platforms leave unchanged.

    Case, width, spaces and punctuation are dropped.
    """
    return "".join(filter(str.isalnum, normalize_compatible(text).casefold()))
