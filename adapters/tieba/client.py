"""One Tieba account in one forum: the order of its calls."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from publisher.contract import AdapterKit, Call, Reply, Upload
from publisher.domain.account import Account, Traits
from publisher.domain.outcome import (
    Blocked,
    CredentialExpired,
    Finding,
    Gone,
    Health,
    HoldReason,
    Missing,
    NotSent,
    Outcome,
    Published,
    RateLimited,
    Reach,
    Ready,
    Receipt,
    Rejected,
    Removal,
    Sighting,
    Submitted,
    Ticket,
    Unknown,
    Unread,
)
from publisher.domain.problem import Problem
from publisher.domain.rendition import Marker, Parcel, Rendition

from . import floors, reach, reading, wire
from .checking import problems_of
from .codes import CODES, GONE, Kind, name
from .standing import decode_standing, encode_standing
from .traits import TRAITS, forum_id

MOST_PAGES = 10
_FINAL = frozenset({Kind.REFUSED, Kind.SIGN_IN, Kind.ACCOUNT, Kind.PERMISSION, Kind.CAPTCHA})
_ASKED_DOWN = Unknown(reason="tieba_still_shown")
"""The answer that a thread is deleted, or not there, before a read has shown it."""
_NO_CONNECTION = frozenset({
    "dns_failed", "dns_timeout", "connect_failed", "connect_timeout", "tls_failed", "host_not_allowed",
})  # fmt: skip
_SUFFIX = {"image/jpeg": "jpg", "image/png": "png", "image/gif": "gif"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TiebaAdapter:
    account: Account
    kit: AdapterKit

    @property
    def traits(self) -> Traits:
        return TRAITS

    def check(self, rendition: Rendition) -> Sequence[Problem]:
        return problems_of(rendition, self.account)

    async def publish(self, parcel: Parcel) -> Outcome:
        """Open one thread, or add one floor to it. Success is only ever Submitted: being taken is not being seen."""
        if not self.account.has_accepted_risk:
            return Blocked(code="tieba_risk_not_accepted", reason=self.account.id, hold=HoldReason.PERMISSION)
        tid = floors.thread_of(parcel.under) if parcel.floor else None
        if parcel.floor and tid is None:
            return Rejected(code="tieba_thread_unnumbered", reason=parcel.under.url if parcel.under else "")
        tbs = await self._session()
        if not isinstance(tbs, str):
            return _unprepared(tbs)
        trouble = await self._standing()
        if trouble is not None:
            return trouble
        fid = await self._forum()
        if not isinstance(fid, int):
            return _unprepared(fid)
        call = await self._thread(parcel, fid, tbs) if tid is None else self._floor(parcel, fid, tbs, tid)
        if not isinstance(call, Call):
            return call
        answer = await self.kit.http.create(call, parcel)
        return self._opened(answer, parcel) if tid is None else self._added(answer, parcel, tid)

    def _floor(self, parcel: Parcel, fid: int, tbs: str, tid: str) -> Call:
        floor = floors.Floor(forum=self._name, fid=fid, tid=tid, content=parcel.text)
        return floors.encode_reply(self._web, self._cookies(), tbs, floor)

    async def _thread(self, parcel: Parcel, fid: int, tbs: str) -> Call | Outcome:
        """Upload the pictures and make the call that opens the thread; or say what keeps it from being made."""
        marks = await self._upload(parcel, tbs)
        if not isinstance(marks, list):
            return _unprepared(marks)
        if marks:  # uploads take their time, and how long a token lives is not published
            fresh = await self._session()
            if not isinstance(fresh, str):
                return _unprepared(fresh)
            tbs = fresh
        content = "\r\n".join([parcel.text, *marks])
        thread = wire.Thread(forum=self._name, fid=fid, title=parcel.rendition.title, content=content)
        return wire.encode_thread(self._web, self._cookies(), tbs, thread)

    async def follow_up(self, ticket: Ticket) -> Finding:
        """Look for a thread or floor as anybody sees it. A plain thread number reads that thread: live, or gone."""
        if (floor := floors.read_ticket(ticket)) is not None:
            return await self._look_under(floor)
        trace = reading.read_ticket(ticket)
        if isinstance(trace, str):
            return await self._page(trace, None)
        return await (self._unnumbered(trace) if trace.tid is None else self._numbered(trace, trace.tid))

    async def find(self, parcel: Parcel) -> Finding:
        if not parcel.floor:
            return await self._look(reading.trace_of(parcel))
        tid = floors.thread_of(parcel.under)
        if tid is None:
            return Unknown(reason="tieba_thread_unnumbered")
        return await self._look_under(floors.trace_of(parcel, tid))

    async def retract(self, receipt: Receipt) -> Removal:
        """Delete the thread, and believe it when a read after that shows that nobody can see it any more."""
        tbs = await self._session()
        if not isinstance(tbs, str):
            return wire.as_unread(tbs)
        fid = await self._forum()
        if not isinstance(fid, int):
            return _unreadable(fid)
        thread = (receipt.remote_id, self._name, fid)
        call = wire.encode_delete(self._app, self.kit.secret().get("BDUSS", ""), tbs, thread)
        removal = _removed(await self._ask(call))
        if removal != _ASKED_DOWN:
            return removal
        shown = await self._page(receipt.remote_id, None)
        return _ASKED_DOWN if isinstance(shown, Published) else shown

    async def probe(self) -> Health:
        tbs = await self._session()
        if not isinstance(tbs, str):
            return tbs
        trouble = await self._standing()
        if trouble is not None:
            return trouble
        fid = await self._forum()
        return Ready() if isinstance(fid, int) else fid

    async def ask_time(self) -> object:
        return await self.kit.http.ask_time(self._web)

    async def measure_reach(self, receipts: Sequence[Receipt]) -> Mapping[str, Reach] | Unread:
        """Read threads one by one, as anybody sees them, the first few of them; trouble ends it."""
        figures: dict[str, Reach] = {}
        for receipt in receipts[: reach.MOST_MEASURED]:
            asked = reading.Asked(tid=receipt.remote_id, marker=None, identity=self.account.identity)
            reply = await self._ask(wire.encode_page(self._web, receipt.remote_id))
            found = reach.decode_reach(reply, asked)
            if isinstance(found, Reach):
                figures[receipt.remote_id] = found
            elif isinstance(found, RateLimited):
                return found
            elif isinstance(found, Unknown) and found.reason not in reach.OF_ONE_THREAD:
                return figures or found
        return figures

    async def recent(self) -> Sequence[Sighting] | Unread:
        fid = await self._forum()
        if not isinstance(fid, int):
            return _unreadable(fid)
        page = await self._threads(1)
        return page if isinstance(page, Unread) else reach.sightings(page, fid)

    def _opened(self, answer: Reply | NotSent | Unknown, parcel: Parcel) -> Outcome:
        if not isinstance(answer, Reply):
            return answer
        now = self.kit.now()
        unseen = reading.write_ticket(reading.trace_of(parcel))
        outcome = wire.decode_created(answer, "tid", unseen, now)
        if not isinstance(outcome, wire.Made):
            return outcome
        if outcome.is_hidden:
            return _hidden(reading.url_of(outcome.number))
        ticket = reading.write_ticket(reading.trace_of(parcel, outcome.number))
        return Submitted(ticket=ticket, look_again_at=now + wire.SHOWN_AFTER)

    def _added(self, answer: Reply | NotSent | Unknown, parcel: Parcel, tid: str) -> Outcome:
        if not isinstance(answer, Reply):
            return answer
        now = self.kit.now()
        outcome = floors.decode_reply(answer, floors.trace_of(parcel, tid), now)
        if not isinstance(outcome, wire.Made):
            return outcome
        if outcome.is_hidden:
            return _hidden(floors.url_of_floor(tid, outcome.number))
        ticket = floors.write_ticket(floors.trace_of(parcel, tid, outcome.number))
        return Submitted(ticket=ticket, look_again_at=now + wire.SHOWN_AFTER)

    async def _look_under(self, trace: floors.FloorTrace) -> Finding:
        """Read the thread's own floors, page by page, as anybody sees them."""
        asked = reading.Asked(tid=trace.tid, marker=None, identity=self.account.identity)
        pages: list[floors.FloorsPage] = []
        for number in range(1, MOST_PAGES + 1):
            call = wire.encode_page(self._web, trace.tid, number, is_own_only=True)
            page = floors.decode_floors(await self._ask(call), asked)
            if isinstance(page, Unread):
                return page
            pages.append(page)
            if page.is_last:
                break
        return floors.judge_floors(pages, trace, self.kit.now())

    async def _numbered(self, trace: reading.Trace, tid: str) -> Finding:
        page = await self._page(tid, trace.marker)
        if isinstance(page, Gone):  # nobody sees it: in review, hidden, or removed; which of them cannot be told
            return Missing(back_to=trace.baseline.since)
        return page

    async def _unnumbered(self, trace: reading.Trace) -> Finding:
        """Look for a thread in review under no number yet, and keep its number once the account's list shows it."""
        found = await self._look(trace)
        tid = _tid_of(found.ticket) if isinstance(found, Submitted) else None
        if not isinstance(found, Submitted) or tid is None:
            return found
        seen = await self._numbered(trace, tid)
        if isinstance(seen, Published):
            return seen
        return Submitted(ticket=found.ticket, look_again_at=self.kit.now() + wire.REVIEWED_AFTER)

    async def _page(self, tid: str, marker: Marker | None) -> Published | Gone | Unread:
        reply = await self._ask(wire.encode_page(self._web, tid))
        asked = reading.Asked(tid=tid, marker=marker, identity=self.account.identity)
        return reading.decode_page(reply, asked, self.kit.now())

    async def _look(self, trace: reading.Trace) -> Finding:
        fid = await self._forum()
        if not isinstance(fid, int):
            return _unreadable(fid)
        pages: list[reading.Listing] = []
        for number in range(1, MOST_PAGES + 1):
            page = await self._threads(number)
            if isinstance(page, Unread):
                return page
            pages.append(page)
            if not page.items or page.is_whole or reading.reaches_back(reading.joined(pages), trace.baseline):
                break
        return reading.judge(reading.joined(pages), trace, fid, self.kit.now())

    async def _threads(self, number: int) -> reading.Listing | Unread:
        """Read one page of the account's own list."""
        call = wire.encode_own_threads(self._web, self._cookies(), self.account.identity, number)
        return reading.decode_own_threads(await self._ask(call), self.account.identity)

    async def _ask(self, call: Call) -> Reply | NotSent | Unread:
        """Make a call that creates nothing; say so where the login may make no more for now."""
        reply = await self.kit.http.ask(call)
        limit = wire.limit_in(reply, self.kit.now()) if isinstance(reply, Reply) else None
        return limit or reply

    async def _session(self) -> str | CredentialExpired | Unread:
        if not self.kit.secret().get("BDUSS"):
            return CredentialExpired(reason="tieba_no_session")
        return wire.decode_session(await self._ask(wire.encode_session(self._web, self._cookies())))

    async def _standing(self) -> Blocked | RateLimited | None:
        """Ask whether anything stands against the account; what cannot be read does not keep a post back."""
        reply = await self._ask(encode_standing(self._web, self._cookies()))
        return reply if isinstance(reply, RateLimited) else decode_standing(reply, self.account.identity)

    async def _forum(self) -> int | Blocked | Unread:
        """Look the forum's number up; the one that the operator gave steps in where no answer can be read."""
        found = wire.decode_forum(await self._ask(wire.encode_forum(self._web, self._name)))
        given = forum_id(self.account)
        if isinstance(found, RateLimited):
            return found
        if isinstance(found, Unknown):
            return given or found
        if found == 0:
            return Blocked(code="tieba_no_forum", reason=self._name, hold=HoldReason.PERMISSION)
        if given not in (None, found):
            return Blocked(code="tieba_forum_differs", reason=str(found), hold=HoldReason.PERMISSION)
        return found

    async def _upload(self, parcel: Parcel, tbs: str) -> list[str] | Outcome:
        """Upload the pictures and give their marks; an upload that leads to no thread is harmless."""
        marks = []
        for picture, data in zip(parcel.rendition.pictures, parcel.images, strict=True):
            suffix = _SUFFIX.get(picture.media_type, "bin")
            file = Upload(name="chunk", filename=f"picture.{suffix}", media_type=picture.media_type, data=data)
            size = (picture.width, picture.height)
            reply = await self._ask(wire.encode_upload(self._web, self._cookies(), tbs, file, size))
            number = wire.decode_upload(reply, self.kit.now())
            if not isinstance(number, str):
                return number
            await self.kit.failpoint("media.after_upload")
            marks.append(f"#(pic,{number},{picture.width},{picture.height})")
        return marks

    def _cookies(self) -> Mapping[str, str]:
        secret = self.kit.secret()
        return {key: secret[key] for key in ("BDUSS", "STOKEN") if secret.get(key)}

    @property
    def _name(self) -> str:
        return self.account.forum or ""

    @property
    def _web(self) -> str:
        return (self.account.base_url or wire.WEB).rstrip("/")

    @property
    def _app(self) -> str:
        return (self.account.base_url or wire.APP).rstrip("/")


def _unprepared(outcome: Outcome) -> Outcome:
    """Judge what failed before the creating call: a doubt there is none, as nothing was created."""
    if not isinstance(outcome, Unknown):
        return outcome
    return NotSent(reason=outcome.reason if outcome.reason in _NO_CONNECTION else "tieba_not_prepared")


def _hidden(url: str) -> Blocked:
    """Say that a post was taken and nobody sees it: no review will end that, and another one would be hidden too."""
    return Blocked(code="tieba_sent_hidden", reason=url, hold=HoldReason.HIDDEN)


def _unreadable(forum: Blocked | Unread) -> Unread:
    """Say why nothing can be read or taken down without the forum's number."""
    return Unknown(reason=forum.code) if isinstance(forum, Blocked) else forum


def _removed(reply: Reply | NotSent | Unread) -> Removal:
    body = wire.read_body(reply)
    if not isinstance(body, Mapping):
        return wire.as_unread(body)
    code = wire.code_of(body)
    if wire.wants_captcha(body):
        return Rejected(code="tieba_captcha", reason=wire.words_of(body))
    if code is None:
        return Unknown(reason="bad_reply")
    if code == 0 or code in GONE:
        return _ASKED_DOWN
    is_final = code in CODES and CODES[code].kind in _FINAL
    return Rejected(code=name(code), reason=wire.words_of(body)) if is_final else Unknown(reason=name(code))


def _tid_of(ticket: Ticket) -> str | None:
    trace = reading.read_ticket(ticket)
    return trace if isinstance(trace, str) else trace.tid
