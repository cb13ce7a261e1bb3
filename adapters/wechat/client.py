"""One WeChat account: the order of the calls."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta

from publisher.contract import AdapterKit, Reply
from publisher.domain.account import Account, Traits
from publisher.domain.outcome import (
    Blocked,
    Busy,
    CredentialExpired,
    Finding,
    Gone,
    Health,
    HoldReason,
    Missing,
    NotSent,
    Outcome,
    Preview,
    Published,
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
from publisher.domain.rendition import Parcel, Rendition

from .checking import problems_of, setting_problems
from .codes import NO_SUCH_ARTICLE, doubt_of, judge_create, reason_of
from .drafting import CONSUMED, Drafting
from .mass import decode_mass_send, encode_mass_send, read_mass_id
from .pushing import Pushing
from .reach import days_to_ask, decode_reach, encode_reach, name_of
from .reading import in_sight, read_back, recognise
from .showing import Showing
from .sign_in import Failed, SignIn
from .tickets import Work, read_ticket, ticket_for
from .traits import pushes, tag_of, traits_of
from .wire import (
    BASE_URL,
    Job,
    Page,
    Trouble,
    decode_articles,
    decode_done,
    decode_job,
    decode_published,
    decode_submit,
    encode_article,
    encode_delete,
    encode_job,
    encode_published,
    encode_submit,
)

WAITS = tuple(timedelta(seconds=seconds) for seconds in (15, 60, 180, 600, 1800))
"""Pauses between two looks at a submission; the platform allows 100 such reads a day, for all posts together."""


class WeChat:
    """Publishes articles and reads them back; what is urgent is mass-sent where the account's profile says so.

    A submission has no key by which WeChat would know a repeat. What stands in for one is the draft: its id is noted
    before it is submitted or sent, and WeChat takes it out of the draft box when it accepts it.
    """

    def __init__(self, account: Account, kit: AdapterKit) -> None:
        self._kit = kit
        self._account = account
        self._base = (account.base_url or BASE_URL).rstrip("/")
        self._sign_in = SignIn(account=account, kit=kit, base=self._base)
        self._drafting = Drafting(sign_in=self._sign_in, kit=kit)
        self._pushing = Pushing(sign_in=self._sign_in, kit=kit)
        self._showing = Showing(sign_in=self._sign_in, kit=kit, drafting=self._drafting)

    @property
    def traits(self) -> Traits:
        return traits_of(self._account)

    def check(self, rendition: Rendition) -> Sequence[Problem]:
        return (*setting_problems(self._account), *problems_of(rendition))

    async def publish(self, parcel: Parcel) -> Outcome:
        for problem in setting_problems(self._account):
            return Blocked(code=problem.code, reason=self._account.id, hold=HoldReason.PERMISSION)
        draft = await self._drafting.ready(parcel)
        if isinstance(draft, Failed):
            return draft.outcome
        token = await self._sign_in.token()
        return token.outcome if isinstance(token, Failed) else await self._create(draft, token, parcel)

    async def follow_up(self, ticket: Ticket) -> Finding:
        work = read_ticket(ticket)
        if work is None:
            return Unknown(reason="wechat_bad_ticket")
        after = replace(work, looks=work.looks + 1)
        mass = read_mass_id(work.name)
        if mass is not None:
            return await self._pushing.follow(mass, work.delivery, lambda: self._submitted(after))
        job = await self._sign_in.ask(lambda token: encode_job(self._base, token, work.name), decode_job)
        return _doubt(job) if isinstance(job, Failed) else self._finding(job, after)

    async def find(self, parcel: Parcel) -> Finding:
        mass = await self._pushing.noted(parcel.delivery)
        if mass is not None:  # no list shows it
            return await self._pushing.look(mass)
        shelf = await read_back(self._published_from, parcel.baseline)
        if isinstance(shelf, Failed):
            return _doubt(shelf)
        recognised = recognise(parcel, shelf.articles)
        if recognised is not None and (shelf.back_to or not isinstance(recognised, Gone)):
            return recognised
        if shelf.back_to is None:
            return Unknown(reason=shelf.reason)
        draft = await self._drafting.noted(parcel)
        standing = await self._drafting.read(draft) if draft is not None else None
        if standing == CONSUMED:
            is_out_of_sight = self._is_pushed(parcel)  # no list ever shows a mass send
            return Unknown(reason=reason_of(CONSUMED.outcome), is_out_of_sight=is_out_of_sight)
        if isinstance(standing, Failed):
            return _doubt(standing)
        return Missing(back_to=shelf.back_to, may_resend=self._is_pushed(parcel))

    async def retract(self, receipt: Receipt) -> Removal:
        """Delete the article, and believe it when a read after that says so; no answer without one ends anything."""
        mass = read_mass_id(receipt.remote_id)
        if mass is not None:
            return await self._pushing.retract(mass)
        deleted = await self._sign_in.ask(
            lambda token: encode_delete(self._base, token, receipt.remote_id), decode_done
        )
        if isinstance(deleted, Failed) and deleted.code != NO_SUCH_ARTICLE:
            outcome = deleted.outcome
            return outcome if isinstance(outcome, Rejected) else _doubt(deleted)
        return await self._fate(receipt)

    async def probe(self) -> Health:
        token = await self._sign_in.prove()
        if token is None:
            return Ready()
        outcome = token.outcome
        return outcome if isinstance(outcome, CredentialExpired | Blocked) else _doubt(token)

    async def ask_time(self) -> object:
        return await self._kit.http.ask_time(self._base)

    async def measure_reach(self, receipts: Sequence[Receipt]) -> Mapping[str, Reach] | Unread:
        told: dict[str, Reach] = {}
        for day in days_to_ask(receipts, self._kit.now()):
            figures = await self._reach_of(day)
            if isinstance(figures, Failed):
                return _doubt(figures)
            told |= figures
        names = {receipt.remote_id: name_of(receipt) for receipt in receipts}
        return {remote_id: told[name] for remote_id, name in names.items() if name in told}

    async def recent(self) -> Sequence[Sighting] | Unread:
        page = await self._published_from(0)
        return _doubt(page) if isinstance(page, Failed) else in_sight(page.articles)

    async def show(self, rendition: Rendition, images: Sequence[bytes], to: str) -> Preview:
        return await self._showing.show(rendition, images, to)

    async def _create(self, draft: str, token: str, parcel: Parcel) -> Outcome:
        """Make the draft public: the one call that is never repeated."""
        if self._is_pushed(parcel):
            key = await self._pushing.key(parcel)
            call = encode_mass_send(self._base, token, draft, tag_of(self._account), key)
            decode: Callable[[Reply], str | Trouble] = decode_mass_send
        else:
            call, decode = encode_submit(self._base, token, draft), decode_submit
        reply = await self._kit.http.create(call, parcel)
        if isinstance(reply, NotSent | Unknown):
            return reply
        name = decode(reply)
        if isinstance(name, str):
            return self._submitted(Work(name=name, delivery=parcel.delivery, looks=0))
        return await self._refused(name, token, parcel)

    def _is_pushed(self, parcel: Parcel) -> bool:
        return parcel.is_urgent and pushes(self._account)

    async def _refused(self, trouble: Trouble, token: str, parcel: Parcel) -> Outcome:
        outcome = judge_create(trouble, self._kit.now())
        if isinstance(outcome, Rejected) and parcel.attempt > 1:
            return Unknown(reason=outcome.code)  # an earlier call with the same draft may be what it objects to
        if not isinstance(outcome, CredentialExpired):
            return outcome
        renewed = await self._sign_in.renew(token)
        has_more_to_say = isinstance(renewed, Failed) and isinstance(renewed.outcome, Blocked | Busy)
        return renewed.outcome if isinstance(renewed, Failed) and has_more_to_say else outcome

    def _submitted(self, work: Work) -> Submitted:
        wait = WAITS[min(work.looks, len(WAITS) - 1)]
        return Submitted(ticket=ticket_for(work), look_again_at=self._kit.now() + wait)

    def _finding(self, job: Job, work: Work) -> Finding:
        match job:
            case Job(status=0, article_id=str() as article_id, url=str() as url):
                return Published(receipt=Receipt(remote_id=article_id, url=url, live_at=self._kit.now()))
            case Job(status=1):
                return self._submitted(work)
            case Job(status=2 | 3 | 4 as status):
                return Rejected(code=f"wechat_refused_{status}", reason=work.name)
            case Job(status=5 | 6):
                return Gone()
            case _:
                return Unknown(reason="wechat_unknown_status")

    async def _published_from(self, offset: int) -> Page | Failed:
        return await self._sign_in.ask(lambda token: encode_published(self._base, token, offset), decode_published)

    async def _reach_of(self, day: date) -> Mapping[str, Reach] | Failed:
        return await self._sign_in.ask(lambda token: encode_reach(self._base, token, day), decode_reach)

    async def _fate(self, receipt: Receipt) -> Gone | Unread:
        """Tell whether an article is gone. An id that a person gave us may be wrong, so its absence proves nothing."""
        articles = await self._sign_in.ask(
            lambda token: encode_article(self._base, token, receipt.remote_id), decode_articles
        )
        if isinstance(articles, Failed):
            is_gone = articles.code == NO_SUCH_ARTICLE and not receipt.is_by_word
            return Gone() if is_gone else _doubt(articles)
        return Gone() if all(article.is_deleted for article in articles) else Unknown(reason="wechat_still_live")


def _doubt(failed: Failed) -> Unread:
    return doubt_of(failed.outcome)
