"""What platforms tell us: each account has a path, and what arrives there only lets us read sooner."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from publisher.contract import Callback, Hint
from publisher.domain.problem import Problem
from publisher.telemetry import log
from publisher.web.server import Answer, Request
from publisher.web.sparse_log import SparseLog
from publisher.wiring.listening import Ear

NONCES_KEPT = 10_000
"""So many messages are known again. An older one is stale by its own time."""
HASTEN_INTERVAL = timedelta(seconds=10)
"""One job is read sooner once in this time at most, whatever is said of it: the polls go on besides."""
HEARD = "success"
"""What WeChat wants to hear."""
REPEATED = (200, HEARD)
"""To a message that was here before: a refusal would count as a failure, and bring it once more."""
FORBIDDEN = (403, "")
"""The one answer to all that proves nothing, so that it does not tell which accounts there are."""
LOG_INTERVAL = 60.0
"""In seconds, from one line about refused messages to the next."""

FindEar = Callable[[str, str], Ear | None]
Hasten = Callable[[Ear, Hint], Awaitable[int]]
"""Lets what a hint means be read now; gives how many deliveries that were."""


@dataclass(slots=True)
class Seen:
    """When something of an account was acted upon: the newest so many."""

    _instants: OrderedDict[tuple[str, str], datetime] = field(default_factory=OrderedDict)

    def at(self, account: str, name: str) -> datetime | None:
        return self._instants.get((account, name))

    def add(self, account: str, name: str, at: datetime) -> None:
        self._instants[account, name] = at
        self._instants.move_to_end((account, name))
        while len(self._instants) > NONCES_KEPT:
            self._instants.popitem(last=False)

    def discard(self, account: str, name: str) -> None:
        self._instants.pop((account, name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """Takes messages. What cannot prove where it comes from changes nothing, nor does what was here before."""

    find_ear: FindEar
    hasten: Hasten
    now: Callable[[], datetime]
    nonces: Seen = field(default_factory=Seen)
    jobs: Seen = field(default_factory=Seen)
    refused: SparseLog = field(default_factory=lambda: SparseLog(LOG_INTERVAL))

    async def answer(self, request: Request) -> Answer:
        """Answer a request; its body is read once, and only if its query is signed, fresh and new."""
        ear = self._ear_at(request.path)
        if ear is None or request.method not in {"GET", "POST"}:
            self.refused.note("callback_refused", "unknown_address")
            return FORBIDDEN
        nonce = ear.verify(request.query, self.now())
        if isinstance(nonce, Problem):
            return self._refuse(ear, nonce)
        if request.method == "GET":
            echo = ear.greet(Callback(query=request.query), self.now())
            return self._refuse(ear, echo) if isinstance(echo, Problem) else (200, echo)
        if self._is_repeated(ear, nonce):
            return REPEATED
        body = await request.body()
        if self._is_repeated(ear, nonce):  # it came on two connections at once
            return REPEATED
        self.nonces.add(ear.account.id, nonce, self.now())
        hint = ear.read(Callback(query=request.query, body=body), self.now())
        if isinstance(hint, Problem):
            return self._refuse(ear, hint)
        if hint is not None:
            await self._hear(ear, nonce, hint)
        return 200, HEARD

    def _ear_at(self, path: str) -> Ear | None:
        match path.split("/"):
            case ["", "callback", platform, account]:
                return self.find_ear(platform, account)
        return None

    def _is_repeated(self, ear: Ear, nonce: str) -> bool:
        if self.nonces.at(ear.account.id, nonce) is None:
            return False
        self.refused.note("callback_replayed", "callback_replayed", account=ear.account.id)
        return True

    async def _hear(self, ear: Ear, nonce: str, hint: Hint) -> None:
        """Let what a hint means be read now, unless it was a moment ago. What fails may be said once more."""
        account, now = ear.account.id, self.now()
        last = self.jobs.at(account, hint.number)
        if last is not None and timedelta(0) <= now - last < HASTEN_INTERVAL:
            self.refused.note("callback_too_soon", "callback_too_soon", account=account)
            return
        self.jobs.add(account, hint.number, now)
        try:
            hastened = await self.hasten(ear, hint)
        except BaseException:
            self.nonces.discard(account, nonce)
            self.jobs.discard(account, hint.number)
            raise
        log.info("callback_heard", account=account, number=hint.number, hastened=hastened)

    def _refuse(self, ear: Ear, problem: Problem) -> Answer:
        self.refused.note("callback_refused", problem.code, account=ear.account.id)
        return FORBIDDEN
