"""`preview`: the final texts and images of a post, before they are published."""

import asyncio
import base64
import hashlib
import webbrowser
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import unified_diff
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from jinja2 import Environment, StrictUndefined

from publisher.app.adapters import find_sources
from publisher.app.offline import build_offline_app
from publisher.cli.errors import format_problems
from publisher.cli.framework import LocalizedUsageError, command, json_option, one_line, person_name
from publisher.cli.target import DeliveryTarget, in_zone, post_target
from publisher.cli.terminal import Terminal, display_path, echo
from publisher.config import Settings, load_settings
from publisher.domain.account import AccountId, Capabilities
from publisher.domain.approval import Rendition, hash_renditions
from publisher.domain.errors import NoSuchItemError, Problem, ScheduleError
from publisher.domain.post import MEDIA_REFERENCE, Post, RenderedPost
from publisher.i18n import Messages
from publisher.rendering.markdown import article_lines
from publisher.rendering.renderer import RenderResult
from publisher.schedule.cron import find_next_occurrence
from publisher.schedule.load import SCHEDULE_READ_LIMITS, locate_problems, make_schedule_context, parse_schedule
from publisher.tomlfile.read import read_toml

if TYPE_CHECKING:
    from publisher.store.plan.approvals import ApprovalTask

SEPARATOR_LINE = "─" * 60


@dataclass(frozen=True, slots=True, kw_only=True)
class PostPreview:
    """One occurrence of a post, rendered for some accounts."""

    settings: Settings
    post: Post
    due: datetime
    result: RenderResult
    problems: Sequence[Problem]
    fingerprint: str
    task: "ApprovalTask | None" = None
    """What the content needs and has, if people must approve it: then it is shown as it is stored."""
    changes: Sequence[str] = ()
    """How it differs from what a person approved last."""
    capabilities: Mapping[AccountId, Capabilities]

    def as_json(self) -> dict[str, Any]:
        approval: dict[str, Any] = {}
        if self.task is not None:
            from publisher.cli.commands.approvals import task_as_json  # noqa: PLC0415 # loads the store

            approval = {"approval": task_as_json(self.task)}

        def text_as_json(account: AccountId, text: str) -> dict[str, Any]:
            sha256 = hashlib.sha256(text.encode()).hexdigest()
            return {"text": text, "sha256": sha256, "length": self.capabilities[account].count_text(text)}

        image_fields = ("sha256", "media_type", "size", "width", "height", "alt")
        return {
            "post": self.post.id,
            "due": self.due.isoformat(),
            "fingerprint": self.fingerprint,
            **approval,
            "rendered_posts": [
                {
                    "account": rendered.account,
                    "platform": rendered.platform,
                    "title": rendered.title,
                    **text_as_json(rendered.account, rendered.text),
                    "limit": self.capabilities[rendered.account].text_limit_beside(len(rendered.images)),
                    "summary": rendered.summary,
                    "link": rendered.link,
                    "marker": rendered.marker.code,
                    "pictures": [{name: getattr(image, name) for name in image_fields} for image in rendered.images],
                    "floors": [text_as_json(rendered.account, part) for part in rendered.extra_parts],
                }
                for rendered in self.result.rendered_posts
            ],
        }

    def as_html(self, messages: Messages) -> str:
        """Return a page. All text is escaped; articles are in frames without any permission."""

        def data_url(sha256: str) -> str:
            media_type, data = self.result.media.get(sha256, ("image/png", b""))
            return f"data:{media_type};base64,{base64.b64encode(data).decode()}"

        environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
        source = (files("publisher.cli") / "preview.html").read_text("utf-8")
        return environment.from_string(source).render(
            post=self.post,
            due=f"{self.due:%Y-%m-%d %H:%M}",
            rendered_posts=self.result.rendered_posts,
            capabilities=self.capabilities,
            image_url=lambda picture: data_url(picture.sha256),
            article_html=lambda text: MEDIA_REFERENCE.sub(lambda found: data_url(found[1]), text),
            translate=messages.translate,
            platform_name=messages.platform_name,
            lang=messages.lang.replace("_", "-"),
        )


@command("preview")
@click.argument("target", metavar="POST", type=post_target)
@click.option("--account", metavar="ACCOUNT", type=one_line, help="opt_account")
@click.option("--html", metavar="FILE", type=click.Path(path_type=Path), help="opt_html")
@click.option("--open", "opens", is_flag=True, help="opt_open")
@click.option("--to", metavar="WXNAME", type=one_line, help="opt_preview_to")
@click.option("--by", metavar="NAME", type=person_name, help="opt_by")
@json_option
def preview(  # noqa: PLR0913 # one argument an option
    terminal: Terminal,
    target: DeliveryTarget,
    account: AccountId | None,
    html: Path | None,
    *,
    to: str | None,
    by: str | None,
    opens: bool,
    as_json: bool,
) -> int:
    if to and not (account and by):
        raise LocalizedUsageError("preview_needs_account_and_by")
    post, account = target.post, account or target.account
    saved = asyncio.run(find_saved_preview(terminal, target, account, by))
    rendered = saved or render_preview(terminal, target, account)
    if rendered.problems:
        echo(format_problems(rendered.problems, terminal.messages), err=True)
    document = rendered.as_json()
    if as_json:
        terminal.print_json(document)
    else:
        for rendered_post in document["rendered_posts"]:
            is_article = rendered.capabilities[rendered_post["account"]].is_article
            _print_rendered_post(terminal, {**rendered_post, "post": post}, rendered.due, is_article=is_article)
        terminal.print_message("preview_fingerprint", fingerprint=rendered.fingerprint)
        if rendered.task is not None:
            from publisher.app.format import Formatter  # noqa: PLC0415 # same
            from publisher.cli.commands.approvals import format_task  # noqa: PLC0415 # loads the store

            formatter = Formatter(messages=terminal.messages, timezone=rendered.settings.timezone)
            echo(format_task(rendered.task, formatter))
        if rendered.changes:
            terminal.print_message("preview_changes", by=by)
            echo("\n".join(rendered.changes))
    if html or opens:
        file = (html or rendered.settings.workspace / "var" / f"preview-{post}.html").absolute()
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(rendered.as_html(terminal.messages), "utf-8")
        terminal.print_note("page_written", file=display_path(file))
        if opens:
            webbrowser.open(file.as_uri())
    if to and by:
        from publisher.cli.application import send_preview  # noqa: PLC0415 # loads store and adapters

        asyncio.run(send_preview(terminal, rendered.settings, rendered.post.id, rendered.result, to=to, by=by))
        return 0
    return int(any(problem.is_error for problem in rendered.problems))


async def find_saved_preview(
    terminal: Terminal, target: DeliveryTarget, only_account: AccountId | None, by: str | None
) -> PostPreview | None:
    """Return a post as it is stored, if people must approve it: exactly that is sent, whatever the file says now.

    With several occurrences it is the next one, or the one of the instant. `by` is shown what has changed since.
    """
    settings = await load_settings(terminal.workspace)
    if not settings.approval_rules.is_active:
        return None
    from publisher.cli.context import has_database, open_command_store  # noqa: PLC0415 # loads the store

    if not has_database(settings):
        return None
    async with open_command_store(settings) as store:
        tasks = await store.approvals.tasks(target.post)
        if target.instant is not None:
            occurrence = in_zone(target.instant, settings.timezone).astimezone(UTC).isoformat()
            tasks = [task for task in tasks if task.key.occurrence == occurrence]
        if not tasks:
            return None
        task, approvals = tasks[0], store.approvals
        contents = await approvals.contents(task.key, task.status.fingerprint)
        changes: list[str] = []
        if by is not None and (before := await approvals.last_approved(task.key, by)) is not None:
            changes = list(compare_contents(await approvals.contents(task.key, before.fingerprint), contents))
        media: dict[str, tuple[str, bytes]] = {}
        for rendered in contents:
            data = await store.manual_tasks.read_pictures(rendered)
            media |= {image.sha256: (image.media_type, data[image.sha256]) for image in rendered.images}
        policies = store.policies
    shown = tuple(rendered for rendered in contents if only_account in {None, rendered.account})
    if not shown:
        raise NoSuchItemError("account", str(only_account), [rendered.account for rendered in contents])
    if gone := [rendered.account for rendered in shown if rendered.account not in policies]:
        raise NoSuchItemError("account", gone[0])
    return PostPreview(
        settings=settings,
        post=task.post,
        due=(task.due_at or store.runtime.now()).astimezone(settings.timezone),
        result=RenderResult(rendered_posts=shown, media=media),
        problems=(),
        fingerprint=task.status.fingerprint,
        task=task,
        changes=changes,
        capabilities={rendered.account: policies[rendered.account].capabilities for rendered in shown},
    )


def compare_contents(before: Sequence[RenderedPost], after: Sequence[RenderedPost]) -> Iterator[str]:
    """Yield the lines in which the texts and pictures of each account differ, as a unified diff."""

    def to_lines(rendered: RenderedPost | None) -> list[str]:
        if rendered is None:
            return []
        texts = [rendered.title, rendered.summary, *rendered.all_parts, rendered.link or ""]
        pictures = [f"[{image.sha256[:16]}] {image.alt}" for image in rendered.images]
        return [line for text in texts for line in text.splitlines()] + pictures

    old, new = ({rendered.account: rendered for rendered in contents} for contents in (before, after))
    for account in sorted({*old, *new}):
        lines = to_lines(old.get(account)), to_lines(new.get(account))
        yield from unified_diff(*lines, fromfile=account, tofile=account, n=0, lineterm="")


def render_preview(terminal: Terminal, target: DeliveryTarget, only_account: AccountId | None) -> PostPreview:
    """Render a post's next occurrence. Raise NoSuchItemError, if another is asked for as well, or InputError."""
    post_id, settings = target.post, asyncio.run(load_settings(terminal.workspace))
    offline_app = build_offline_app(settings)
    toml = read_toml(settings.workspace / "schedule.toml", SCHEDULE_READ_LIMITS, ScheduleError)
    names, platforms = offline_app.post_renderer.templates.names, find_sources().keys()
    context = make_schedule_context(settings, templates=names, platforms=platforms)
    posts = {post.id: post for post in parse_schedule(toml.text, file=toml.file, context=context).posts}
    if (post := posts.get(post_id)) is None:
        raise NoSuchItemError("post", post_id, posts)
    if only_account is not None and only_account not in offline_app.post_renderer.accounts:
        raise NoSuchItemError("account", only_account, offline_app.post_renderer.accounts)
    if only_account is not None and only_account not in post.accounts:
        raise NoSuchItemError("delivery", f"{post_id}@{only_account}", [f"{post_id}@{name}" for name in post.accounts])
    occurrence = find_next_occurrence(post, datetime.now(UTC), settings.timezone)
    due = occurrence.due_at.astimezone(settings.timezone)
    if target.instant is not None and in_zone(target.instant, settings.timezone) != due:
        raise NoSuchItemError("occurrence", target.text, [f"{post_id}#{due.isoformat()}"])
    accounts = [only_account] if only_account else post.accounts
    result = offline_app.post_renderer.render(post, occurrence, accounts, posts)
    whole = offline_app.post_renderer.render(post, occurrence, post.accounts, posts) if only_account else result
    return PostPreview(
        settings=settings,
        post=post,
        due=due,
        result=result,
        problems=locate_problems(result.problems, text=toml.text, file=toml.file),
        fingerprint=hash_renditions(
            Rendition(account=rendered.account, kind=post.kind.value, rendered_hash=rendered.fingerprint)
            for rendered in whole.rendered_posts
        ),
        capabilities={account: offline_app.policies[account].capabilities for account in post.accounts},
    )


def _print_rendered_post(
    terminal: Terminal, rendered_post: Mapping[str, Any], due: datetime, *, is_article: bool
) -> None:
    """Print one of the rendered posts of a preview's JSON; of an article what readers see, without its HTML."""
    platform = terminal.messages.platform_name(rendered_post["platform"])
    facts = {"platform": platform, "link": rendered_post["link"] or terminal.translate("nothing")}
    terminal.print_message("preview_head", **{**rendered_post, **facts, "due": f"{due:%Y-%m-%d %H:%M}"})
    for picture in rendered_post["pictures"]:
        terminal.print_message("preview_image", **picture)
    parts = [rendered_post, *rendered_post["floors"]]
    for number, part in enumerate(parts, 1):
        if len(parts) > 1:
            place = {"number": number, "total": len(parts), "limit": rendered_post["limit"]}
            terminal.print_message("preview_part", **{**part, **place})
        text = article_lines(part["text"]) if is_article else part["text"]
        echo(SEPARATOR_LINE)
        echo(text, nl=not text.endswith("\n"))
        echo(SEPARATOR_LINE)
    if is_article:
        terminal.print_message("preview_article", **rendered_post)
    echo()
