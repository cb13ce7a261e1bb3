"""`preview`: the very words, before anybody reads them."""

import asyncio
import base64
import hashlib
import re
import webbrowser
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import click
from jinja2 import Environment, StrictUndefined

from publisher.app.offline import build_offline_app
from publisher.cli.errors import format_problems
from publisher.cli.framework import LocalizedUsageError, NonEmptyText, PersonName, command, json_option
from publisher.cli.terminal import Terminal, display_path, echo
from publisher.config import Settings, load_settings
from publisher.domain.account import AccountId, Capabilities
from publisher.domain.errors import NoSuchItemError, Problem, ScheduleError
from publisher.domain.post import Occurrence, Post, PostId
from publisher.domain.rendered import RenderedImage, RenderedPost
from publisher.i18n import Messages
from publisher.rendering.renderer import RenderResult
from publisher.schedule import (
    SCHEDULE_READ_LIMITS,
    find_next_occurrence,
    locate_problems,
    make_schedule_context,
    parse_schedule,
)
from publisher.tomlfile import read_toml

_MEDIA = re.compile(r"media:([0-9a-f]{64})")


def preview_html(
    messages: Messages,
    post: Post,
    due: datetime,
    render_result: RenderResult,
    capabilities: Mapping[AccountId, Capabilities],
) -> str:
    """Write the page; whatever staff wrote is escaped, and articles stand in frames that may do nothing."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    source = (files("publisher.cli") / "preview.html").read_text("utf-8")
    return environment.from_string(source).render(
        post=post,
        due=f"{due:%Y-%m-%d %H:%M}",
        renditions=render_result.rendered_posts,
        traits=capabilities,
        address=lambda picture: _data_url(picture.sha256, render_result),
        article=lambda text: _MEDIA.sub(lambda found: _data_url(found[1], render_result), text),
        say=messages.translate,
        lang=messages.lang.replace("_", "-"),
    )


def _data_url(sha256: str, render_result: RenderResult) -> str:
    media_type, data = render_result.media.get(sha256, ("image/png", b""))
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


SEPARATOR_LINE = "─" * 60


@dataclass(frozen=True, slots=True, kw_only=True)
class PostPreview:
    """One occurrence of a post, proved for some accounts."""

    settings: Settings
    post: Post
    occurrence: Occurrence
    result: RenderResult
    problems: Sequence[Problem]
    capabilities: dict[AccountId, Capabilities]

    @property
    def due(self) -> datetime:
        return self.occurrence.due_at.astimezone(self.settings.timezone)


@command("preview")
@click.argument("post", metavar="POST", type=NonEmptyText())
@click.option("--account", metavar="ACCOUNT", type=NonEmptyText(), help="opt_account")
@click.option("--html", metavar="FILE", type=click.Path(path_type=Path), help="opt_html")
@click.option("--open", "opens", is_flag=True, help="opt_open")
@click.option("--to", metavar="WXNAME", type=NonEmptyText(), help="opt_preview_to")
@click.option("--by", metavar="NAME", type=PersonName(), help="opt_by")
@json_option
def preview(  # noqa: PLR0913 # one argument an option
    terminal: Terminal,
    post: str,
    account: str | None,
    html: Path | None,
    *,
    to: str | None,
    by: str | None,
    opens: bool,
    as_json: bool,
) -> int:
    if to and not (account and by):
        raise LocalizedUsageError("preview_needs_account_and_by")
    post_preview = render_preview(terminal, PostId(post), AccountId(account) if account else None)
    if post_preview.problems:
        echo(format_problems(post_preview.problems, terminal.messages), err=True)
    if as_json:
        terminal.print_json(_as_json(post_preview))
    else:
        for rendered in post_preview.result.rendered_posts:
            _print_post(terminal, rendered, post_preview)
    if html or opens:
        file = (html or post_preview.settings.workspace / "var" / f"preview-{post}.html").absolute()
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(
            preview_html(
                terminal.messages, post_preview.post, post_preview.due, post_preview.result, post_preview.capabilities
            ),
            "utf-8",
        )
        terminal.print_note("page_written", file=display_path(file))
        if opens:
            webbrowser.open(file.as_uri())
    if to and by:
        from publisher.cli.preview_send import PreviewRequest, send_preview  # noqa: PLC0415 # opens the books, which looking must not

        return asyncio.run(
            send_preview(
                terminal,
                post_preview.settings,
                PreviewRequest(post=post_preview.post.id, result=post_preview.result, to=to, by=by),
            )
        )
    return int(any(problem.is_error for problem in post_preview.problems))


def render_preview(terminal: Terminal, post_id: PostId, only_account: AccountId | None) -> PostPreview:
    """Render a post's next occurrence. Raises NoSuchError, InputError."""
    settings = asyncio.run(load_settings(terminal.workspace))
    offline_app = build_offline_app(settings)
    toml = read_toml(settings.workspace / "schedule.toml", SCHEDULE_READ_LIMITS, ScheduleError)
    context = make_schedule_context(settings, templates=offline_app.post_renderer.templates.names)
    posts = {post.id: post for post in parse_schedule(toml.text, file=toml.file, context=context).posts}
    if (post := posts.get(post_id)) is None:
        raise NoSuchItemError("post", post_id)
    if only_account is not None and only_account not in offline_app.post_renderer.accounts:
        raise NoSuchItemError("account", only_account)
    if only_account is not None and only_account not in post.accounts:
        raise NoSuchItemError("delivery", f"{post_id}@{only_account}")
    occurrence = find_next_occurrence(post, datetime.now(UTC), settings.timezone)
    result = offline_app.post_renderer.render(
        post, occurrence, [only_account] if only_account else post.accounts, posts
    )
    return PostPreview(
        settings=settings,
        post=post,
        occurrence=occurrence,
        result=result,
        problems=locate_problems(result.problems, text=toml.text, file=toml.file),
        capabilities={account: offline_app.policies[account].capabilities for account in post.accounts},
    )


def text_sha256(text: str) -> str:
    """Give the SHA-256 of a text's bytes."""
    return hashlib.sha256(text.encode()).hexdigest()


def _print_post(terminal: Terminal, rendered: RenderedPost, post_preview: PostPreview) -> None:
    capabilities = post_preview.capabilities[rendered.account]
    named = f"platform_{rendered.platform}"
    terminal.print_message(
        "preview_head",
        account=rendered.account,
        platform=terminal.translate(named) if named in terminal.messages.entries else rendered.platform,
        title=rendered.title,
        marker=rendered.marker.code,
        due=f"{post_preview.due:%Y-%m-%d %H:%M}",
        length=capabilities.count_text(rendered.text),
        limit=capabilities.text_limit,
        link=rendered.link or terminal.translate("nothing"),
        sha256=text_sha256(rendered.text),
    )
    for picture in rendered.images:
        terminal.print_message("preview_image", **_picture_as_json(picture))
    for number, part in enumerate(rendered.all_parts, 1):
        if rendered.extra_parts:
            facts = {"number": number, "total": len(rendered.all_parts), "limit": capabilities.text_limit}
            terminal.print_message(
                "preview_part", length=capabilities.count_text(part), sha256=text_sha256(part), **facts
            )
        echo(SEPARATOR_LINE)
        echo(part, nl=not part.endswith("\n"))
        echo(SEPARATOR_LINE)
    echo()


def _picture_as_json(picture: RenderedImage) -> dict[str, Any]:
    return {
        "sha256": picture.sha256,
        "media_type": picture.media_type,
        "size": picture.size,
        "width": picture.width,
        "height": picture.height,
        "alt": picture.alt,
    }


def _as_json(post_preview: PostPreview) -> dict[str, Any]:
    return {
        "post": post_preview.post.id,
        "due": post_preview.due.isoformat(),
        "renditions": [
            {
                "account": rendered.account,
                "platform": rendered.platform,
                "title": rendered.title,
                "text": rendered.text,
                "sha256": text_sha256(rendered.text),
                "length": post_preview.capabilities[rendered.account].count_text(rendered.text),
                "limit": post_preview.capabilities[rendered.account].text_limit,
                "summary": rendered.summary,
                "link": rendered.link,
                "marker": rendered.marker.code,
                "pictures": [_picture_as_json(picture) for picture in rendered.images],
                "floors": [
                    {
                        "text": part,
                        "sha256": text_sha256(part),
                        "length": post_preview.capabilities[rendered.account].count_text(part),
                    }
                    for part in rendered.extra_parts
                ],
            }
            for rendered in post_preview.result.rendered_posts
        ],
    }
