"""The daemon's part of previews on people's own phones: one call for each order."""

from datetime import timedelta

from publisher.app.application import Application
from publisher.contract import PostPreviewer
from publisher.domain.account import Mode
from publisher.domain.post import RenderedPost
from publisher.domain.results import (
    Blocked,
    Busy,
    CredentialExpired,
    NotSent,
    PreviewResult,
    PreviewSent,
    RateLimited,
    Rejected,
    Unknown,
)
from publisher.engine.calls import call_adapter
from publisher.runtime.logs import log
from publisher.store.monitor.previews import (
    EXPIRED,
    INTERRUPTED,
    PAUSED,
    PreviewOrder,
    PreviewStatus,
)

PREVIEW_TIMEOUT = timedelta(minutes=2)
"""For the upload of the pictures, too."""
NOT_SUPPORTED = "preview_not_possible"


async def send_previews(app: Application) -> None:
    """Send the previews that people have ordered. One that was interrupted is not repeated."""
    previews, now = app.store.previews, app.runtime.now()
    for order in await previews.list():
        if order.status is PreviewStatus.SENDING:
            await previews.finish(order, INTERRUPTED)
        elif order.status is PreviewStatus.ORDERED and not order.is_open(now):
            await previews.finish(order, EXPIRED)
        elif order.status is PreviewStatus.ORDERED:
            claimed = await previews.claim(order)
            if claimed is not None:
                await previews.finish(claimed, *await _send(app, claimed))


async def find_obstacle(app: Application, rendered: RenderedPost) -> str:
    """Return the code of an obstacle that came after the order; empty if there is none."""
    if await app.store.previews.is_paused(rendered):
        return PAUSED
    modes = await app.store.login_health.read_modes()
    return "" if modes.get(rendered.account) is Mode.API else NOT_SUPPORTED


async def _send(app: Application, order: PreviewOrder) -> tuple[str, str]:
    """Send one preview. Return the code of what has failed, and the platform's words for it."""
    rendered = await app.store.occurrences.rendition(order.fingerprint)
    if rendered is None or order.account not in app.adapters:
        return NOT_SUPPORTED, ""
    adapter = app.adapters[order.account]
    if not isinstance(adapter, PostPreviewer):
        return NOT_SUPPORTED, ""
    if obstacle := await find_obstacle(app, rendered):
        return obstacle, ""
    media = await app.store.manual_tasks.read_pictures(rendered)
    images = [media[image.sha256] for image in rendered.images if image.sha256 in media]
    async with app.credentials.verified(order.account) as refusal:
        if refusal is not None:
            answer: PreviewResult = refusal
        else:
            answer = await call_adapter(
                adapter.send_preview(rendered, images, order.to), PREVIEW_TIMEOUT
            )
    log.info("preview_ended", account=order.account, result=type(answer).__name__)
    match answer:
        case PreviewSent():
            return "", ""
        case Rejected() | Busy() | Blocked():
            return answer.code, answer.reason
        case RateLimited():
            return answer.code, ""
        case Unknown():  # it may have arrived
            return INTERRUPTED, ""
        case CredentialExpired() | NotSent():
            return answer.reason, ""
