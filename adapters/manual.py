"""Manual posting: an adapter that assigns a post to a person, and passes everything else to the platform's adapter."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from publisher.contract import Adapter, TimeSource
from publisher.domain.account import Capabilities
from publisher.domain.delivery import MANUAL_CHECK_INTERVAL, ManualTask, parse_manual_task
from publisher.domain.errors import Problem
from publisher.domain.rendered import RenderedPost, SendRequest
from publisher.domain.results import (
    Deleted,
    DeletionResult,
    HealthCheckResult,
    ObservedPost,
    Outcome,
    PossibleMatch,
    Published,
    RateLimited,
    Reach,
    ReadbackResult,
    ReadFailure,
    Receipt,
    Submitted,
    Ticket,
    Unknown,
)
from publisher.domain.verification import matches_text

API_ONLY_PROBLEM_CODES = frozenset({"weibo_no_link_template", "weibo_link_not_apart", "tieba_risk_not_accepted"})
"""Requirements of a platform's API only; they do not concern a person who posts manually."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ManualPostingAdapter:
    """Assigns manual requests to a person; the platform's own adapter does everything else."""

    inner: Adapter
    now: Callable[[], datetime]

    @property
    def capabilities(self) -> Capabilities:
        return self.inner.capabilities

    def validate(self, rendered: RenderedPost) -> Sequence[Problem]:
        return self.inner.validate(rendered)

    async def publish(self, request: SendRequest) -> Outcome:
        """Publish by API; for a manual request make no call, but return a manual task as its ticket."""
        if not request.is_manual:
            return await self.inner.publish(request)
        now = self.now()
        return Submitted(ticket=ManualTask(assigned_at=now).ticket, check_again_at=now + MANUAL_CHECK_INTERVAL)

    async def check_ticket(self, ticket: Ticket) -> ReadbackResult:
        if parse_manual_task(ticket) is not None:
            return Unknown(reason="manual_task_without_ticket")
        return await self.inner.check_ticket(ticket)

    async def find_post(self, request: SendRequest) -> ReadbackResult:
        """Look for the post on the account. A manual post must match our text too, not only carry our marker."""
        found = await self.inner.find_post(request)
        if not request.is_manual:
            return found
        if isinstance(found, Submitted):
            found = await self.inner.check_ticket(found.ticket)
            if not isinstance(found, Published | Deleted | RateLimited):
                return Unknown(reason="manual_task_in_review")
        if not isinstance(found, Published) or request.part:  # the platform's own adapter compares the text of a part
            return found
        recent = await self.inner.list_recent()
        if isinstance(recent, RateLimited):
            return recent
        listed = () if isinstance(recent, Unknown) else recent
        texts = [item.text for item in listed if item.remote_id == found.receipt.remote_id]
        if not texts:
            return found
        rendered = request.rendered
        if matches_text((rendered.title, rendered.summary, rendered.text), texts[0], request.marker):
            return Published(receipt=found.receipt, is_text_confirmed=True)
        return PossibleMatch(remote_id=found.receipt.remote_id, url=found.receipt.url)

    async def retract(self, receipt: Receipt) -> DeletionResult:
        return await self.inner.retract(receipt)

    async def check_health(self) -> HealthCheckResult:
        return await self.inner.check_health()

    async def read_metrics(self, receipts: Sequence[Receipt]) -> Mapping[str, Reach] | ReadFailure:
        return await self.inner.read_metrics(receipts)

    async def list_recent(self) -> Sequence[ObservedPost] | ReadFailure:
        return await self.inner.list_recent()


@dataclass(frozen=True, slots=True, kw_only=True)
class ManualPostingTimeSource(ManualPostingAdapter):
    """The same, if the platform's own adapter is a TimeSource."""

    fetch_time: Callable[[], Awaitable[object]]


def enable_manual_posting(inner: Adapter, now: Callable[[], datetime]) -> ManualPostingAdapter:
    """Wrap an adapter for manual posting; the result is a TimeSource only if the platform's own adapter is one."""
    if isinstance(inner, TimeSource):
        return ManualPostingTimeSource(inner=inner, now=now, fetch_time=inner.fetch_time)
    return ManualPostingAdapter(inner=inner, now=now)


@dataclass(frozen=True, slots=True, kw_only=True)
class ManualPostingValidator(ManualPostingAdapter):
    """Validates posts for an account whose settings make all posting manual."""

    def validate(self, rendered: RenderedPost) -> Sequence[Problem]:
        return [problem for problem in self.inner.validate(rendered) if problem.code not in API_ONLY_PROBLEM_CODES]
