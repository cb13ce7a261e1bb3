"""One Weibo account: the order of its calls."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from publisher.contract import AdapterKit, Call, Reply, Upload
from publisher.domain.account import Account, Traits
from publisher.domain.outcome import (
    Blocked,
    CredentialExpired,
    Finding,
    Gone,
    Health,
    HoldReason,
    Lookalike,
    NotSent,
    Outcome,
    Published,
    RateLimited,
    Reach,
    Receipt,
    Rejected,
    Removal,
    Sighting,
    Ticket,
    Unknown,
    Unread,
)
from publisher.domain.problem import Problem
from publisher.domain.rendition import Parcel, Picture, Rendition

from . import article, reading, wire
from .address import leads_to_article
from .checking import problems_of
from .profiles import BIZ, SHARE, article_cover, profile_of
from .reads import Reads
from .timeline import TOO_SHORT, Trace, judge, read_ticket, trace_of, write_ticket
from .traits import PLAIN, measure, traits_of
from .wire import Site

TELLING = timedelta(minutes=10)
"""For so long a removal is refused on account of the article that stays."""
_NO_TOKEN = "weibo_no_token"  # noqa: S105 - the name of a message
_SUFFIX = {"image/jpeg": "jpg", "image/png": "png", "image/gif": "gif"}


@dataclass(frozen=True, slots=True, kw_only=True)
class WeiboAdapter:
    account: Account
    kit: AdapterKit

    @property
    def traits(self) -> Traits:
        return traits_of(self.account)

    def check(self, rendition: Rendition) -> Sequence[Problem]:
        return problems_of(rendition, self.account)

    async def publish(self, parcel: Parcel) -> Outcome:
        site = self._site()
        if site is None:
            return CredentialExpired(reason=_NO_TOKEN)
        if self.account.public_ip is None and self.account.base_url is None:
            return Blocked(code="weibo_no_public_ip", reason=self.account.id, hold=HoldReason.PERMISSION)
        as_article = article.is_article(self.account, parcel.rendition)
        if len(parcel.images) > (0 if as_article else self.traits.picture_limit):
            return Rejected(code="weibo_too_many_pictures", reason=str(len(parcel.images)))
        call = self._article(site, parcel.rendition) if as_article else await self._post(site, parcel)
        if not isinstance(call, Call):
            return call
        answer = await self.kit.http.create(call, parcel)
        if not isinstance(answer, Reply):
            return answer
        ticket, now = write_ticket(parcel, is_article=as_article), self.kit.now()
        if as_article:
            return wire.decode_article(answer, ticket, now)
        return wire.decode_created(answer, self.account.identity, ticket, now)

    async def find(self, parcel: Parcel) -> Finding:
        as_article = article.is_article(self.account, parcel.rendition)
        shown = article.lead(parcel.rendition) if as_article else parcel.rendition.text
        return await self._look(trace_of(parcel, shown, is_article=as_article))

    async def follow_up(self, ticket: Ticket) -> Finding:
        """Look for the post of a ticket. A plain post number reads that post: live, or gone."""
        trace = read_ticket(ticket)
        if isinstance(trace, Trace):
            return await self._look(trace)
        site = self._site()
        if site is None:
            return Unknown(reason=_NO_TOKEN)
        return reading.decode_show(await self._ask(site, reading.encode_show(site, trace)), self.account.identity)

    async def retract(self, receipt: Receipt) -> Removal:
        """Take the post down, and believe it when a read says so.

        An article behind it stays: Weibo names no call for that, so a person is told first.
        """
        site = self._site()
        if site is None:
            return Unknown(reason=_NO_TOKEN)
        reply = await self._made(reading.encode_destroy(site, receipt.remote_id))
        removal = reading.decode_destroy(reply, receipt.remote_id)
        if removal == reading.ASKED_DOWN:
            removal = await self._fate(site, receipt)
        if isinstance(removal, Gone) and leads_to_article(receipt) and not await self._was_told(receipt):
            return Rejected(code="weibo_article_stays", reason=receipt.url)
        return removal

    async def probe(self) -> Health:
        site = self._site()
        if site is None:
            return CredentialExpired(reason=_NO_TOKEN)
        reply = await self._ask(site, reading.encode_token_info(site), is_spare=True)
        app_key = self.kit.secret().get("app_key")
        return reading.decode_token_info(reply, self.account.identity, app_key, self.kit.now())

    async def ask_time(self) -> object:
        """Ask Weibo's host for the time: a probe would be one of the few reads of a day."""
        return await self.kit.http.ask_time(self.account.base_url or profile_of(self.account).host)

    async def measure_reach(self, receipts: Sequence[Receipt]) -> Mapping[str, Reach] | Unread:
        site = self._site()
        if site is None:
            return Unknown(reason=_NO_TOKEN)
        ids = [receipt.remote_id for receipt in receipts]
        figures: dict[str, Reach] = {}
        for start in range(0, len(ids), reading.MOST_COUNTED):
            asked = ids[start : start + reading.MOST_COUNTED]
            reply = await self._ask(site, reading.encode_counts(site, asked), is_spare=True)
            found = reading.decode_counts(reply, asked)
            if isinstance(found, Unread):
                return found
            figures |= found
        return figures

    async def recent(self) -> Sequence[Sighting] | Unread:
        site = self._site()
        if site is None:
            return Unknown(reason=_NO_TOKEN)
        reply = await self._ask(site, reading.encode_timeline(site, site.profile.listed[-1]), is_spare=True)
        timeline = reading.decode_timeline(reply, self.account.identity)
        return timeline if isinstance(timeline, Unread) else reading.sightings(timeline, self.account.identity)

    async def _fate(self, site: Site, receipt: Receipt) -> Gone | Unread:
        """Read whether a post that was to be taken down is gone."""
        shown = await self._ask(site, reading.encode_show(site, receipt.remote_id))
        found = reading.decode_show(shown, self.account.identity)
        return reading.ASKED_DOWN if isinstance(found, Published) else found

    async def _look(self, trace: Trace) -> Finding:
        site = self._site()
        if site is None:
            return Unknown(reason=_NO_TOKEN)
        finding: Finding = TOO_SHORT
        likeness: Lookalike | None = None
        for count in site.profile.listed:
            reply = await self._ask(site, reading.encode_timeline(site, count))
            timeline = reading.decode_timeline(reply, self.account.identity)
            if isinstance(timeline, RateLimited):
                return timeline
            if isinstance(timeline, Unknown):
                return likeness or timeline
            finding = judge(timeline, trace, self.account.identity, site.profile.readable)
            if isinstance(finding, Lookalike):  # a longer list may show our own post below it, but cannot refute it
                likeness = likeness or finding
            elif finding != TOO_SHORT:
                break
        return finding if isinstance(finding, Published) else likeness or finding

    async def _ask(self, site: Site, call: Call, *, is_spare: bool = False) -> Reply | NotSent | Unread:
        """Make a read, unless what is left of the day's is kept for ending doubts."""
        reads = Reads(kit=self.kit, spare=site.profile.spare_reads)
        if not await reads.take(is_spare=is_spare):
            return Unknown(reason="weibo_reads_kept")
        return await self._made(call)

    async def _made(self, call: Call) -> Reply | NotSent | Unread:
        """Make a call that creates nothing; say so where the login may make no more for now."""
        reply = await self.kit.http.ask(call)
        limit = wire.limit_in(reply, self.kit.now()) if isinstance(reply, Reply) else None
        return limit or reply

    async def _was_told(self, receipt: Receipt) -> bool:
        """Whether a person has heard of the article for so long that the telling cannot have been lost in a crash."""
        key = f"article_stays:{receipt.remote_id}"
        told_at = await self.kit.notes.recall(key)
        if told_at is None:
            await self.kit.notes.remember(key, self.kit.now().isoformat())
            return False
        return self.kit.now() - datetime.fromisoformat(told_at) >= TELLING

    def _article(self, site: Site, rendition: Rendition) -> Call:
        words = wire.ArticleWords(
            title=rendition.title,
            content=article.content(rendition),
            cover=article_cover(self.account) or "",
            lead=article.lead(rendition),
            address=self.account.public_ip,
        )
        return wire.encode_article(site, words)

    async def _post(self, site: Site, parcel: Parcel) -> Call | Outcome:
        """Prepare the creating call of a plain post, its pictures stored first where the calls want that."""
        words = wire.Words(
            text=parcel.rendition.text,
            note=parcel.marker.code,
            address=self.account.public_ip,
            is_long=measure(parcel.rendition.text) > PLAIN,
        )
        if site.profile is not BIZ:
            encode = wire.encode_share if site.profile is SHARE else wire.encode_update
            pictures = [_upload(picture, data) for picture, data in _illustrations(parcel)]
            return encode(site, words, pictures[0] if pictures else None)
        stored: list[str] = []
        for picture, data in _illustrations(parcel):
            number = await self._stored(site, f"picture:{parcel.delivery}:{picture.sha256}", _upload(picture, data))
            if not isinstance(number, str):
                return number
            stored.append(number)
        return wire.encode_gallery(site, words, stored)

    async def _stored(self, site: Site, key: str, picture: Upload) -> str | Outcome:
        """Store a picture once for each delivery: how long Weibo keeps one that no post shows is not written down."""
        noted = await self.kit.notes.recall(key)
        if noted is not None:
            return noted
        stored = wire.decode_picture(await self.kit.http.ask(wire.encode_picture(site, picture)), self.kit.now())
        if isinstance(stored, str):
            await self.kit.failpoint("media.after_upload")
            await self.kit.notes.remember(key, stored)
        return stored

    def _site(self) -> Site | None:
        """Give where calls go; None where there is no token to sign them."""
        token = self.kit.secret().get("access_token")
        if not token:
            return None
        return Site(profile=profile_of(self.account), base_url=self.account.base_url, token=token)


def _illustrations(parcel: Parcel) -> Sequence[tuple[Picture, bytes]]:
    return list(zip(parcel.rendition.pictures, parcel.images, strict=True))


def _upload(picture: Picture, data: bytes) -> Upload:
    suffix = _SUFFIX.get(picture.media_type, "bin")
    return Upload(name="pic", filename=f"picture.{suffix}", media_type=picture.media_type, data=data)
