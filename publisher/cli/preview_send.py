"""Shows a preview to one person through the platform. It opens the store, which a mere look must not."""

from datetime import timedelta

from publisher.app.application import find_previewer, open_application
from publisher.cli.context import report_database_errors
from publisher.cli.errors import CommandFailedError
from publisher.cli.format import Formatter
from publisher.cli.terminal import Terminal
from publisher.config import Settings
from publisher.domain.post import PostId
from publisher.domain.results import (
    Blocked,
    Busy,
    CredentialExpired,
    NotSent,
    PreviewSent,
    RateLimited,
    Rejected,
    Unknown,
)
from publisher.engine.adapter_call import call_adapter
from publisher.engine.decisions import named_person
from publisher.rendering.renderer import RenderResult
from publisher.runtime.clock import Runtime

PREVIEW_TIMEOUT = timedelta(minutes=2)
"""For images, draft and message together."""


async def send_preview(  # noqa: PLR0913 # what, to whom, by whom
    terminal: Terminal, settings: Settings, post: PostId, result: RenderResult, *, to: str, by: str
) -> None:
    """Send the preview of the only rendered post. Raise CommandFailedError where that fails."""
    if len(result.rendered_posts) != 1 or any(problem.is_error for problem in result.problems):
        raise CommandFailedError("preview_has_errors")
    rendered = result.rendered_posts[0]
    account, media = rendered.account, result.media
    images = [media[picture.sha256][1] for picture in rendered.images if picture.sha256 in media]
    with report_database_errors():
        async with open_application(settings, Runtime(), can_send=False, can_read=True) as application:
            previewer = find_previewer(application, account)
            if previewer is None:
                raise CommandFailedError("preview_not_supported", account=account)
            detail = {"to": to, "rendition": rendered.fingerprint}
            await application.operator_actions.record_action(
                "preview_requested", f"{post}@{account}", named_person(by), detail
            )
            answer = await call_adapter(previewer.send_preview(rendered, images, to), PREVIEW_TIMEOUT)
    formatter = Formatter(messages=terminal.messages, timezone=settings.timezone)
    match answer:
        case PreviewSent():
            terminal.print_note("preview_shown", account=account, to=to)
            return
        case RateLimited(code=code):
            reason = formatter.reason(code)
        case (
            Rejected(code=code, reason=platform_message)
            | Busy(code=code, reason=platform_message)
            | Blocked(code=code, reason=platform_message)
        ):
            reason = f"{formatter.reason(code)} ({platform_message})"
        case CredentialExpired(reason=code) | NotSent(reason=code) | Unknown(reason=code):
            reason = formatter.reason(code)
    raise CommandFailedError("preview_failed", account=account, to=to, reason=reason)
