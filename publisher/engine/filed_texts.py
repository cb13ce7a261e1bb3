"""Filed texts against present templates and settings: find the outdated ones, and update them.

The text that was stored when a post was filed is sent. A later correction of a template, a region's
facts or a picture changes nothing of it, until a person orders so.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from publisher.domain.account import AccountId
from publisher.domain.delivery import Actor
from publisher.domain.errors import NoSuchItemError, RefusedError, ScheduleError
from publisher.domain.plan import Plan, PlannedDeliveries
from publisher.domain.post import (
    FiledTexts,
    Fingerprint,
    Occurrence,
    OneTimeTrigger,
    PostId,
    RenderedRevision,
)
from publisher.engine.planner import Planner, with_originals
from publisher.rendering.newer_texts import find_newer_texts
from publisher.store.plan.batches import RenderedOccurrence
from publisher.store.plan.posts import AuditAction, PlanCommit

MAX_TEXTS_COMPARED = 50
"""How many texts one run of the check renders. Other texts to render must not wait long."""


async def refresh_texts(planner: Planner, post_id: PostId, by: Actor) -> int:
    """Take over present templates and settings for a filed post. Return how many texts changed.

    Only occurrences without any call are changed. Approvals count for their own text alone, so they
    are needed again. Raises NoSuchItemError. Raises RefusedError if nothing is filed or every
    occurrence has been called. Raises ScheduleError if a text cannot be sent.
    """
    post = await planner.store.posts.get_post(post_id)
    if post is None:
        raise NoSuchItemError("post", post_id, await planner.store.queries.post_ids())
    filed = [
        one
        for one in await planner.store.occurrences.filed_texts()
        if one.key.post == post_id
    ]
    unstarted = [one for one in filed if not one.has_started]
    if not unstarted:
        raise RefusedError(
            "refresh_after_call" if filed else "refresh_nothing_filed", post=post_id
        )
    posts = {item.id: item for item in await with_originals(planner, [post])}
    newer = await asyncio.to_thread(
        find_newer_texts, planner.post_renderer, unstarted, posts
    )
    rendered: list[RenderedOccurrence] = []
    media: dict[str, tuple[str, bytes]] = {}
    for one in newer:
        occurrence = Occurrence(
            key=one.filed.key, due_at=one.filed.due_at, expires_at=one.filed.expires_at
        )
        is_moved = one.filed.due_at != one.filed.scheduled_at
        planned = PlannedDeliveries(
            post=post,
            occurrence=occurrence,
            accounts=one.accounts,
            is_new=False,
            scheduled_at=one.filed.scheduled_at
            if is_moved and isinstance(post.trigger, OneTimeTrigger)
            else None,
        )
        result = await asyncio.to_thread(
            planner.post_renderer.render, post, occurrence, one.accounts, posts
        )
        if errors := [problem for problem in result.problems if problem.is_error]:
            raise ScheduleError(errors)
        revision = RenderedRevision(
            content_hash=post.content_hash, rendered_posts=result.rendered_posts
        )
        rendered.append(RenderedOccurrence(planned=planned, revision=revision))
        media |= result.media
    number = sum(len(one.accounts) for one in newer)
    if newer:
        action = AuditAction(
            event="texts_refreshed",
            subject=post_id,
            by=by,
            detail={"number": str(number)},
        )
        plan = Plan(planned=tuple(item.planned for item in rendered))
        commit = PlanCommit(
            plan=plan, rendered=rendered, media=media, actions=[action], is_refresh=True
        )
        await planner.store.posts.commit_plan(commit)
    return number


@dataclass(slots=True)
class FiledTextCheck:
    """The daemon's comparison of all filed texts with the files read at its start, in portions.

    A text that is filed later is of this start, or of another process that has read the files
    later. `is_current` says whether templates and settings are still the ones of the start.
    Otherwise nothing can be said here.
    """

    planner: Planner
    is_current: Callable[[], bool]
    _waiting: deque[FiledTexts] | None = None
    _outdated: dict[PostId, Mapping[AccountId, Fingerprint]] = field(
        default_factory=dict
    )
    """The texts that would be others now, by post."""

    async def run(self) -> int:
        """Compare the next portion, and keep one alert for each post with outdated texts.

        Return how many occurrences were compared.
        """
        if self._waiting is not None and not (self._waiting or self._outdated):
            return 0
        store = self.planner.store
        filed = [
            one for one in await store.occurrences.filed_texts() if not one.has_started
        ]
        if self._waiting is None:
            self._waiting = deque(filed)
        self._forget_replaced(filed)
        portion = (
            self._take_portion(filed)
            if await asyncio.to_thread(self.is_current)
            else []
        )
        if portion:
            await self._compare(portion)
        first = {post: min(texts) for post, texts in self._outdated.items()}
        await store.system_alerts.keep_outdated_texts(
            first, {one.key.post for one in self._waiting}
        )
        return len(portion)

    def _forget_replaced(self, filed: Sequence[FiledTexts]) -> None:
        """Forget the findings about texts that are gone, called or replaced since.

        The remaining texts are compared again.
        """
        for post, outdated in [*self._outdated.items()]:
            own = [one for one in filed if one.key.post == post]
            if not set(outdated.values()) <= {
                text for one in own for text in one.texts.values()
            }:
                del self._outdated[post]
                self._waiting = deque([*own, *(self._waiting or ())])

    def _take_portion(self, filed: Sequence[FiledTexts]) -> Sequence[FiledTexts]:
        """Take the next texts to compare, of the ones that still wait unchanged."""
        portion: list[FiledTexts] = []
        while (
            self._waiting
            and sum(len(one.texts) for one in portion) < MAX_TEXTS_COMPARED
        ):
            one = self._waiting.popleft()
            portion += [one] if one in filed else []
        return portion

    async def _compare(self, portion: Sequence[FiledTexts]) -> None:
        names = sorted({one.key.post for one in portion})
        found = [await self.planner.store.posts.get_post(name) for name in names]
        posts = await with_originals(
            self.planner, [post for post in found if post is not None]
        )
        by_id = {post.id: post for post in posts}
        for newer in await asyncio.to_thread(
            find_newer_texts, self.planner.post_renderer, portion, by_id
        ):
            texts = {account: newer.filed.texts[account] for account in newer.accounts}
            post = newer.filed.key.post
            self._outdated[post] = {**self._outdated.get(post, {}), **texts}
