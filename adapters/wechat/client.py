"""One WeChat account: the order of the calls."""

import json
from collections.abc import Sequence
from datetime import timedelta

from publisher.contract import AdapterKit
from publisher.domain.account import Account, Traits
from publisher.domain.outcome import (
    Blocked,
    CredentialExpired,
    Finding,
    Gone,
    Health,
    Missing,
    NotSent,
    Outcome,
    Published,
    Ready,
    Receipt,
    Rejected,
    Removal,
    Submitted,
    Ticket,
    Unknown,
)
from publisher.domain.problem import Problem
from publisher.domain.rendition import Parcel, Rendition

from .checking import problems_of
from .codes import NO_SUCH_ARTICLE, judge_create, reason_of
from .drafting import Drafting
from .reading import read_back, recognise
from .sign_in import Failed, SignIn
from .traits import TRAITS
from .wire import (
    BASE_URL,
    Job,
    Page,
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
    """Publishes articles without a notification, and reads them back.

    A submission has no key by which WeChat would know a repeat. What stands in for one is the draft: its id is noted
    before it is submitted, and WeChat takes it out of the draft box when it accepts it.
    """

    def __init__(self, account: Account, kit: AdapterKit) -> None:
        self._kit = kit
        self._base = (account.base_url or BASE_URL).rstrip("/")
        self._sign_in = SignIn(account=account, kit=kit, base=self._base)
        self._drafting = Drafting(sign_in=self._sign_in, kit=kit)

    @property
    def traits(self) -> Traits:
        return TRAITS

    def check(self, rendition: Rendition) -> Sequence[Problem]:
        return problems_of(rendition)

    async def publish(self, parcel: Parcel) -> Outcome:
        draft = await self._drafting.ready(parcel)
        if isinstance(draft, Failed):
            return draft.outcome
        token = await self._sign_in.token()
        return token.outcome if isinstance(token, Failed) else await self._submit(draft, token, parcel)

    async def follow_up(self, ticket: Ticket) -> Finding:
        try:
            publish_id, draft, looks = _read_ticket(ticket)
        except (ValueError, KeyError, TypeError):
            return Unknown(reason="wechat_bad_ticket")
        job = await self._sign_in.ask(lambda token: encode_job(self._base, token, publish_id), decode_job)
        if isinstance(job, Failed):
            return _doubt(job)
        return self._finding(job, publish_id, draft, looks + 1)

    async def find(self, parcel: Parcel) -> Finding:
        shelf = await read_back(self._published_from, parcel.baseline)
        if isinstance(shelf, Failed):
            return _doubt(shelf)
        recognised = recognise(parcel, shelf.articles)
        if recognised is not None:
            return recognised
        draft = await self._drafting.noted(parcel.delivery)
        standing = await self._drafting.read(draft) if draft is not None else None
        return _doubt(standing) if isinstance(standing, Failed) else Missing(back_to=shelf.back_to)

    async def retract(self, receipt: Receipt) -> Removal:
        before = await self._fate(receipt)
        if isinstance(before, Gone):
            return before
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

    async def _submit(self, draft: str, token: str, parcel: Parcel) -> Outcome:
        """Make the draft public: the one call that is never repeated."""
        reply = await self._kit.http.create(encode_submit(self._base, token, draft), parcel)
        if isinstance(reply, NotSent | Unknown):
            return reply
        publish_id = decode_submit(reply)
        if isinstance(publish_id, str):
            return self._submitted(publish_id, draft, 0)
        outcome = judge_create(publish_id, self._kit.now())
        if isinstance(outcome, Rejected) and parcel.attempt > 1:
            return Unknown(reason=outcome.code)  # an earlier submission of the same draft may be what it objects to
        if not isinstance(outcome, CredentialExpired):
            return outcome
        renewed = await self._sign_in.renew(token)
        is_blocked = isinstance(renewed, Failed) and isinstance(renewed.outcome, Blocked)
        return renewed.outcome if isinstance(renewed, Failed) and is_blocked else outcome

    def _submitted(self, publish_id: str, draft: str, looks: int) -> Submitted:
        number = json.dumps({"publish_id": publish_id, "draft": draft, "looks": looks})
        wait = WAITS[min(looks, len(WAITS) - 1)]
        return Submitted(ticket=Ticket(number=number), look_again_at=self._kit.now() + wait)

    def _finding(self, job: Job, publish_id: str, draft: str, looks: int) -> Finding:
        match job:
            case Job(status=0, article_id=str() as article_id, url=str() as url):
                return Published(receipt=Receipt(remote_id=article_id, url=url, live_at=self._kit.now()))
            case Job(status=1):
                return self._submitted(publish_id, draft, looks)
            case Job(status=2 | 3 | 4 as status):
                return Rejected(code=f"wechat_refused_{status}", reason=publish_id)
            case Job(status=5 | 6):
                return Gone()
            case _:
                return Unknown(reason="wechat_unknown_status")

    async def _published_from(self, offset: int) -> Page | Failed:
        return await self._sign_in.ask(lambda token: encode_published(self._base, token, offset), decode_published)

    async def _fate(self, receipt: Receipt) -> Gone | Unknown:
        """Tell whether an article is gone. An id that a person gave us may be wrong, so its absence proves nothing."""
        articles = await self._sign_in.ask(
            lambda token: encode_article(self._base, token, receipt.remote_id), decode_articles
        )
        if isinstance(articles, Failed):
            is_gone = articles.code == NO_SUCH_ARTICLE and not receipt.is_by_word
            return Gone() if is_gone else _doubt(articles)
        return Gone() if all(article.is_deleted for article in articles) else Unknown(reason="wechat_still_live")


def _read_ticket(ticket: Ticket) -> tuple[str, str, int]:
    """Read our own ticket. Raises ValueError, KeyError or TypeError where it is not ours."""
    number = json.loads(ticket.number)
    return str(number["publish_id"]), str(number["draft"]), int(number["looks"])


def _doubt(failed: Failed) -> Unknown:
    return Unknown(reason=reason_of(failed.outcome))
