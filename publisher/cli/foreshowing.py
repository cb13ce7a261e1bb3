"""`preview --to`: one person sees the post on their own phone before all others do."""

from dataclasses import dataclass
from datetime import timedelta

from publisher.cli.narrating import Narrator
from publisher.cli.terminal import Terminal
from publisher.cli.trouble import FailedError
from publisher.cli.workplace import database_trouble
from publisher.domain.outcome import (
    Blocked,
    Busy,
    CredentialExpired,
    NotSent,
    RateLimited,
    Rejected,
    Shown,
    Unknown,
)
from publisher.domain.outcome import Preview as Answer
from publisher.domain.post import PostId
from publisher.domain.rendition import Rendition
from publisher.guard import guarded
from publisher.rendering.press import Proof
from publisher.reviewing import person
from publisher.settings import Settings
from publisher.wiring.application import open_application
from publisher.wiring.showing import previewer_of
from publisher.world import World

LONGEST = timedelta(minutes=2)
"""Pictures, draft and message together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Showing:
    """Who is to be shown what, and who says so."""

    post: PostId
    proof: Proof
    to: str
    by: str


async def foreshow(terminal: Terminal, settings: Settings, showing: Showing) -> int:
    """Send the preview of the one rendition, and say how it went. Raises FailedError where that cannot be."""
    rendition = _only(showing.proof)
    account, media = rendition.account, showing.proof.media
    images = [media[picture.sha256][1] for picture in rendition.pictures if picture.sha256 in media]
    with database_trouble():
        async with open_application(settings, World(), sends=False, asks=True) as application:
            previewer = previewer_of(application, account)
            if previewer is None:
                raise FailedError("preview_not_there", account=account)
            detail = {"to": showing.to, "rendition": rendition.fingerprint}
            await application.orders.record("preview_ordered", f"{showing.post}@{account}", person(showing.by), detail)
            answer = await guarded(previewer.show(rendition, images, showing.to), LONGEST)
    if isinstance(answer, Shown):
        terminal.note("preview_shown", account=account, to=showing.to)
        return 0
    reason = _words(answer, Narrator(messages=terminal.messages, timezone=settings.timezone))
    raise FailedError("preview_failed", account=account, to=showing.to, reason=reason)


def _only(proof: Proof) -> Rendition:
    if len(proof.renditions) != 1 or any(problem.is_error for problem in proof.problems):
        raise FailedError("preview_has_errors")
    return proof.renditions[0]


def _words(answer: Answer, narrator: Narrator) -> str:
    """Put what went wrong into words, with the platform's own where it gave any."""
    match answer:
        case RateLimited(code=code):
            return narrator.reason(code)
        case Rejected(code=code, reason=said) | Busy(code=code, reason=said) | Blocked(code=code, reason=said):
            return f"{narrator.reason(code)} ({said})"
        case CredentialExpired(reason=reason) | NotSent(reason=reason) | Unknown(reason=reason):
            return narrator.reason(reason)
        case Shown():
            return ""
