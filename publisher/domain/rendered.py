"""The final words and pictures for one account, and how we know them again on the platform."""

import hashlib
import json
import unicodedata
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import NewType

from publisher.domain.account import AccountId, Platform
from publisher.domain.post import OccurrenceKey
from publisher.domain.results import Receipt

Fingerprint = NewType("Fingerprint", str)
DeliveryId = NewType("DeliveryId", int)

_MARKER_ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"


@dataclass(frozen=True, slots=True, kw_only=True)
class Marker:
    """A bulletin number such as `K7QM-4R2T`, unique to one delivery, by which we know our own post."""

    code: str

    def is_in(self, text: str) -> bool:
        """Whether a text carries the marker, whatever the platform did to case, width, spaces or brackets."""
        return self.normalized in normalize(text)

    @property
    def normalized(self) -> str:
        """What of it stays in a folded text."""
        return normalize(self.code)


def derive_marker(key: OccurrenceKey, account: AccountId) -> Marker:
    """Derive a delivery's marker from its key alone, so that a preview shows the number that will be sent."""
    digest = hashlib.sha256(f"{key.post}\n{key.occurrence}\n{account}".encode()).digest()
    number = int.from_bytes(digest[:8], "big")
    letters = ""
    for _ in range(8):
        number, index = divmod(number, len(_MARKER_ALPHABET))
        letters += _MARKER_ALPHABET[index]
    return Marker(code=f"{letters[:4]}-{letters[4:]}")


def derive_part_marker(marker: Marker, number: int, total: int) -> Marker:
    """Give what a further floor is known by: the `number`th of `total`, the post itself being the first."""
    return Marker(code=f"接上层，{number}/{total}）〔{marker.code}")


def format_part_prefix(marker: Marker, number: int, total: int) -> str:
    """Give the words that a further floor begins with."""
    return f"（{derive_part_marker(marker, number, total).code}〕"


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedImage:
    """An image of a rendition; its bytes are kept by their hash."""

    sha256: str
    media_type: str
    size: int
    width: int
    height: int
    alt: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedPost:
    """Exactly what one account will say. `text` is plain text (Weibo, Tieba) or an article's HTML (WeChat).

    Inside an article a picture stands as `<img src="media:SHA256">`; the adapter puts the platform's own address
    of the uploaded picture there, and changes nothing else. `link` carries the marker for readers who want more.
    `floors` are the further floors in which a long text goes on, in order, each beginning with its sign.
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
    def fingerprint(self) -> Fingerprint:
        facts = asdict(self)
        if not self.extra_parts:  # what was frozen before there were floors keeps its name
            del facts["extra_parts"]
        return fingerprint(facts)

    @property
    def all_parts(self) -> tuple[str, ...]:
        """The whole text: the post itself, then the floors it goes on in."""
        return (self.text, *self.extra_parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedRevision:
    """The renditions of one occurrence, frozen; `id` names them all by hash."""

    content_hash: str
    rendered_posts: tuple[RenderedPost, ...]

    @property
    def id(self) -> Fingerprint:
        return fingerprint([self.content_hash, sorted(rendition.fingerprint for rendition in self.rendered_posts)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """What stood on the account before an attempt: the newest id we know, and an instant surely before the call."""

    newest_id: str | None
    taken_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SendRequest:
    """What an adapter is handed: one committed attempt, ready to go.

    `start_by` is an instant of the monotonic clock, in seconds: after it the lease may be another's, and no first byte
    may leave. `images` go with `rendition.pictures`. `owned_ids` are remote ids that belong to other deliveries;
    whoever reads a platform needs them, whoever publishes does not, and then there are none. `is_urgent` chooses the
    louder way where a platform has two. With `is_by_hand` a person posts it: no call is made. `ordered_after` is the
    attempt after which a person ordered the present one, 0 where nobody did: what was prepared for earlier ones, and
    has been used up, is prepared again. `floor` is 0 for the post itself; a further floor goes `under` the post
    that the receipt names. `epoch` is that of the lease under which it is called.
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

    @property
    def text(self) -> str:
        """What this attempt is to say."""
        return self.rendered.all_parts[self.part]

    @property
    def marker(self) -> Marker:
        """What the post, or this floor of it, is known by."""
        if not self.part:
            return self.rendered.marker
        return derive_part_marker(self.rendered.marker, self.part + 1, len(self.rendered.all_parts))


def fingerprint(value: object) -> Fingerprint:
    """Hash any JSON value by its one canonical spelling."""
    spelled = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=str)
    return Fingerprint(hashlib.sha256(spelled.encode()).hexdigest())


def normalize(text: str) -> str:
    """Leave of a text what platforms leave alone: no case, width, space or bracket."""
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKC", text).casefold()))
