"""`preview`: the final texts and images of a post, before they are published."""

import asyncio
import base64
import contextlib
import hashlib
import webbrowser
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from difflib import unified_diff
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from jinja2 import Environment, StrictUndefined

from publisher.app.adapters import find_sources
from publisher.app.offline import OfflineApp, build_offline_app
from publisher.cli.errors import format_problems
from publisher.cli.framework import (
    LocalizedUsageError,
    command,
    json_option,
    one_line,
    person_name,
)
from publisher.cli.target import DeliveryTarget, in_zone, post_target
from publisher.cli.terminal import Terminal, display_path, echo
from publisher.config import Settings, load_settings
from publisher.domain.account import AccountId, Capabilities
from publisher.domain.approval import Rendition, hash_family, hash_renditions
from publisher.domain.delivery import DESIRED_NO_SEND, OPEN_STATES, State
from publisher.domain.errors import NoSuchItemError, Problem, ScheduleError
from publisher.domain.post import (
    MEDIA_REFERENCE,
    ONCE_OCCURRENCE,
    Fingerprint,
    OccurrenceKey,
    Post,
    PostId,
    RenderedPost,
    find_family,
)
from publisher.i18n import Messages
from publisher.rendering.markdown import article_lines
from publisher.rendering.newer_texts import find_newer_texts
from publisher.rendering.renderer import RenderResult
from publisher.schedule.cron import find_next_occurrence
from publisher.schedule.load import (
    SCHEDULE_READ_LIMITS,
    locate_problems,
    make_schedule_context,
    parse_leniently,
    parse_schedule,
)
from publisher.tomlfile.read import TomlDocument, read_toml

if TYPE_CHECKING:
    from publisher.store.approvals.tasks import ApprovalTask
    from publisher.store.store import Store

SEPARATOR_LINE = "─" * 60


@dataclass(frozen=True, slots=True, kw_only=True)
class PostPreview:
    """One occurrence of a post, rendered for some accounts."""

    settings: Settings
    post: Post
    due: datetime
    result: RenderResult
    problems: Sequence[Problem]
    fingerprint: Fingerprint
    task: "ApprovalTask | None" = None
    """The required and given approvals of the content. It is then shown as it is stored.

    It is set if people must approve the content.
    """
    changes: Sequence[str] = ()
    """Its differences from the person's last approved content."""
    is_stored: bool = False
    """True if it is filed, so that exactly this is sent."""
    newer: Sequence[AccountId] = ()
    """Where present templates and settings give another text than the filed one."""
    has_started: bool = False
    is_file_newer: bool = False
    """True if the file has another version of the post. That version is not in force."""
    capabilities: Mapping[AccountId, Capabilities]

    def as_json(self) -> dict[str, Any]:
        approval: dict[str, Any] = {}
        if self.task is not None:
            from publisher.cli.commands.approvals import task_as_json  # noqa: PLC0415 # loads the store

            approval = {"approval": task_as_json(self.task)}

        def text_as_json(account: AccountId, text: str) -> dict[str, Any]:
            sha256 = hashlib.sha256(text.encode()).hexdigest()
            return {
                "text": text,
                "sha256": sha256,
                "length": self.capabilities[account].count_text(text),
            }

        image_fields = ("sha256", "media_type", "size", "width", "height", "alt")
        return {
            "post": self.post.id,
            "due": self.due.isoformat(),
            "fingerprint": self.fingerprint,
            "stored": self.is_stored,
            "newer": {
                "accounts": list(self.newer),
                "can_be_taken_over": bool(self.newer) and not self.has_started,
            },
            "file_differs": self.is_file_newer,
            **approval,
            "rendered_posts": [
                {
                    "account": rendered.account,
                    "platform": rendered.platform,
                    "title": rendered.title,
                    **text_as_json(rendered.account, rendered.text),
                    "limit": self.capabilities[rendered.account].text_limit_beside(
                        len(rendered.images)
                    ),
                    "summary": rendered.summary,
                    "link": rendered.link,
                    "marker": rendered.marker.code,
                    "pictures": [
                        {name: getattr(image, name) for name in image_fields}
                        for image in rendered.images
                    ],
                    "floors": [
                        text_as_json(rendered.account, part)
                        for part in rendered.extra_parts
                    ],
                }
                for rendered in self.result.rendered_posts
            ],
        }

    def as_html(self, messages: Messages) -> str:
        """Return a page. All text is escaped; articles are in frames without any permission."""

        def data_url(sha256: str) -> str:
            media_type, data = self.result.media.get(sha256, ("image/png", b""))
            return f"data:{media_type};base64,{base64.b64encode(data).decode()}"

        environment = Environment(
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        source = (files("publisher.cli") / "preview.html").read_text("utf-8")
        return environment.from_string(source).render(
            post=self.post,
            due=f"{self.due:%Y-%m-%d %H:%M}",
            rendered_posts=self.result.rendered_posts,
            capabilities=self.capabilities,
            image_url=lambda picture: data_url(picture.sha256),
            article_html=lambda text: MEDIA_REFERENCE.sub(
                lambda found: data_url(found[1]), text
            ),
            translate=messages.translate,
            platform_name=messages.platform_name,
            lang=messages.lang.replace("_", "-"),
        )


@command("preview")
@click.argument("target", metavar="POST", type=post_target)
@click.option("--account", metavar="ACCOUNT", type=one_line, help="opt_account")
@click.option(
    "--html", metavar="FILE", type=click.Path(path_type=Path), help="opt_html"
)
@click.option("--open", "opens", is_flag=True, help="opt_open")
@click.option("--to", metavar="WXNAME", type=one_line, help="opt_preview_to")
@click.option("--by", metavar="NAME", type=person_name, help="opt_by")
@click.option("--now", "is_now", is_flag=True, help="opt_preview_now")
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
    is_now: bool,
    as_json: bool,
) -> int:
    if to and not (account and by):
        raise LocalizedUsageError("preview_needs_account_and_by")
    account = account or target.account
    stored = (
        ()
        if is_now
        else asyncio.run(find_stored_previews(terminal, target, account, by))
    )
    found = stored or render_previews(terminal, target, account)
    shown = found[0] if len(found) == 1 else join_members(target.post, found)
    if shown.problems:
        echo(format_problems(shown.problems, terminal.messages), err=True)
    if as_json:
        terminal.print_json(shown.as_json())
    else:
        for one in found:
            _print_preview(terminal, one, by)
    if len(found) > 1 and not as_json:
        print_family(terminal, target.post, found)
    if html or opens:
        _write_page(terminal, shown, html, opens=opens)
    if to and by:
        from publisher.cli.application import send_preview  # noqa: PLC0415 # loads store and adapters

        asyncio.run(
            send_preview(
                terminal, shown.settings, shown.post.id, shown.result, to=to, by=by
            )
        )
        return 0
    return int(any(problem.is_error for problem in shown.problems))


def join_members(family: PostId, found: Sequence[PostPreview]) -> PostPreview:
    """Return the texts of a family's members as one preview, without their approvals."""
    texts = [text for one in found for text in one.result.rendered_posts]
    media = {name: data for one in found for name, data in one.result.media.items()}
    return replace(
        found[0],
        post=replace(found[0].post, id=family),
        result=RenderResult(rendered_posts=tuple(texts), media=media),
        problems=[problem for one in found for problem in one.problems],
        fingerprint=hash_family(
            (one.task.name if one.task else one.post.id, one.fingerprint)
            for one in found
        ),
        task=None,
        newer=[account for one in found for account in one.newer],
        is_stored=all(one.is_stored for one in found),
        has_started=any(one.has_started for one in found),
        is_file_newer=any(one.is_file_newer for one in found),
        capabilities={
            account: capabilities
            for one in found
            for account, capabilities in one.capabilities.items()
        },
    )


def print_family(
    terminal: Terminal, family: PostId, found: Sequence[PostPreview]
) -> None:
    """Print the fingerprint for one yes to all members, if they wait for one together."""
    tasks = [one.task for one in found if one.task is not None]
    if not tasks:
        return
    from publisher.engine.approvals import group_members  # noqa: PLC0415 # loads the store

    for waiting in group_members(tasks):
        facts = {"post": family, "number": len(waiting.members)}
        terminal.print_message(
            "preview_family", **facts, fingerprint=waiting.fingerprint
        )


def _print_preview(terminal: Terminal, shown: PostPreview, by: str | None) -> None:
    """Print all texts, then the fingerprint, its approvals, and the changes that would come now."""
    for rendered_post in shown.as_json()["rendered_posts"]:
        is_article = shown.capabilities[rendered_post["account"]].is_article
        _print_rendered_post(
            terminal,
            {**rendered_post, "post": shown.post.id},
            shown.due,
            is_article=is_article,
        )
    terminal.print_message("preview_fingerprint", fingerprint=shown.fingerprint)
    if shown.task is not None:
        from publisher.app.format import Formatter  # noqa: PLC0415 # same
        from publisher.cli.commands.approvals import format_task  # noqa: PLC0415 # loads the store

        formatter = Formatter(
            messages=terminal.messages, timezone=shown.settings.timezone
        )
        echo(format_task(shown.task, formatter))
    if shown.changes:
        terminal.print_message("preview_changes", by=by)
        echo("\n".join(shown.changes))
    if shown.is_stored:
        terminal.print_message("preview_is_stored")
    if shown.newer:
        accounts = terminal.translate("list_comma").join(shown.newer)
        code = "preview_newer_text_late" if shown.has_started else "preview_newer_text"
        terminal.print_message(code, post=shown.post.id, accounts=accounts)
    if shown.is_file_newer:
        terminal.print_message("preview_newer_file", post=shown.post.id)


def _write_page(
    terminal: Terminal, shown: PostPreview, html: Path | None, *, opens: bool
) -> None:
    file = (
        html or shown.settings.workspace / "var" / f"preview-{shown.post.id}.html"
    ).absolute()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(shown.as_html(terminal.messages), "utf-8")
    terminal.print_note("page_written", file=display_path(file))
    if opens:
        webbrowser.open(file.as_uri())


async def find_stored_previews(
    terminal: Terminal,
    target: DeliveryTarget,
    only_account: AccountId | None,
    by: str | None,
) -> Sequence[PostPreview]:
    """Return a post, or each member of a family, as stored, if it is filed. Exactly that is sent.

    Present file, templates and settings make no difference. With several occurrences it is the next
    one, or the one of the instant. `by` gets the changes since their last approval. Accounts that
    have left the settings are named and left out. Raises NoSuchItemError for an account that it is
    not for, or that has left the settings. Also raises it if no account is left.
    """
    settings = await load_settings(terminal.workspace)
    from publisher.cli.context import has_database, open_command_store  # noqa: PLC0415 # loads the store

    if not has_database(settings):
        return ()
    async with open_command_store(settings) as store:
        members = await store.queries.find_posts(target.post)
        contents = [
            content
            for post in members
            if (
                content := await _find_content(
                    store, replace(target, post=post), settings
                )
            )
        ]
        named = [
            content
            for content in contents
            if only_account is None
            or any(text.account == only_account for text in content.texts)
        ]
        if contents and not named:
            accounts = [text.account for one in contents for text in one.texts]
            raise NoSuchItemError("account", str(only_account), accounts)
        return [
            await show_stored(terminal, store, settings, content, only_account, by)
            for content in named
        ]


async def show_stored(  # noqa: PLR0913, PLR0917 # the content, and who sees which part of it
    terminal: Terminal,
    store: "Store",
    settings: Settings,
    content: "StoredContent",
    only_account: AccountId | None,
    by: str | None,
) -> PostPreview:
    """Return a content with its pictures, and its differences from the last approval of `by`."""
    shown = tuple(
        item for item in content.texts if only_account in {None, item.account}
    )
    gone = [item.account for item in shown if item.account not in store.policies]
    if only_account in gone or len(gone) == len(shown):
        raise NoSuchItemError("account", gone[0])
    if gone:
        accounts = terminal.translate("list_comma").join(gone)
        terminal.print_note(
            "preview_account_gone", post=content.post.id, accounts=accounts
        )
    shown = tuple(item for item in shown if item.account not in gone)
    media: dict[str, tuple[str, bytes]] = {}
    for rendered in shown:
        data = await store.manual_tasks.read_pictures(rendered)
        media |= {
            image.sha256: (image.media_type, data[image.sha256])
            for image in rendered.images
        }
    changes: list[str] = []
    if (
        by is not None
        and (before := await store.approvals.last_approved(content.key, by)) is not None
    ):
        earlier = await store.approvals.contents(content.key, before.fingerprint)
        changes = list(compare_contents(earlier, content.texts))
    found = PostPreview(
        settings=settings,
        post=content.post,
        due=(content.due_at or store.runtime.now()).astimezone(settings.timezone),
        result=RenderResult(rendered_posts=shown, media=media),
        problems=(),
        fingerprint=content.fingerprint,
        task=content.task,
        changes=changes,
        capabilities={
            item.account: store.policies[item.account].capabilities for item in shown
        },
        is_stored=True,
    )
    return await _add_newer(store, found, content.key)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredContent:
    """The stored texts of an occurrence, and the approvals of them, if its kind needs any."""

    key: OccurrenceKey
    post: Post
    due_at: datetime | None
    texts: Sequence[RenderedPost]
    fingerprint: Fingerprint
    task: "ApprovalTask | None" = None


async def _find_content(
    store: "Store", target: DeliveryTarget, settings: Settings
) -> StoredContent | None:
    """Return the stored content of the named, else the next open, else a published occurrence."""
    occurrence = (
        target.instant
        and in_zone(target.instant, settings.timezone).astimezone(UTC).isoformat()
    )
    tasks = (
        await store.approvals.tasks(target.post)
        if settings.approval_rules.is_active
        else ()
    )
    for task in (task for task in tasks if occurrence in {None, task.key.occurrence}):
        texts = await store.approvals.contents(task.key, task.status.fingerprint)
        return StoredContent(
            key=task.key,
            post=task.post,
            due_at=task.due_at,
            texts=texts,
            fingerprint=task.status.fingerprint,
            task=task,
        )
    filed = [
        one
        for one in await store.queries.deliveries(target.post)
        if occurrence in {None, one.key.occurrence}
    ]
    wanted = [
        one
        for one in filed
        if one.state in OPEN_STATES and one.desired not in DESIRED_NO_SEND
    ]
    published = [one for one in filed if one.state is State.PUBLISHED]
    is_named = occurrence is not None
    sent = [
        one for one in published if is_named or one.key.occurrence == ONCE_OCCURRENCE
    ]
    post = await store.posts.get_post(target.post)
    if post is None or not (wanted or sent):
        return None
    first = (wanted or sent)[0]
    own = {one.account: one for one in (*wanted, *published) if one.key == first.key}
    texts = [
        item
        for item in await store.occurrences.renditions(first.key)
        if item.account in own
    ]
    renditions = [
        Rendition(account=one.account, kind=one.kind, rendered_hash=one.rendered_hash)
        for one in own.values()
    ]
    return StoredContent(
        key=first.key,
        post=post,
        due_at=first.due_at,
        texts=texts,
        fingerprint=hash_renditions(renditions),
    )


async def _add_newer(
    store: "Store", found: PostPreview, key: OccurrenceKey
) -> PostPreview:
    """Note where file, templates and settings give another text now than the stored one."""
    filed = [one for one in await store.occurrences.filed_texts() if one.key == key]
    post, posts = found.post, {found.post.id: found.post}
    if (
        post.follows is not None
        and (original := await store.posts.get_post(post.follows)) is not None
    ):
        posts[original.id] = original
    known_posts = await store.queries.post_ids()

    def compare() -> PostPreview:
        offline_app = build_offline_app(found.settings)
        with contextlib.closing(offline_app.post_renderer.templates.renderer):
            newer = find_newer_texts(offline_app.post_renderer, filed, posts)
        shown = {item.account for item in found.result.rendered_posts}
        in_file = _find_in_file(offline_app, post.id, known_posts)
        return replace(
            found,
            newer=sorted(
                shown & {account for one in newer for account in one.accounts}
            ),
            has_started=any(one.has_started for one in filed),
            is_file_newer=bool(filed)
            and in_file is not None
            and in_file.content_hash != post.content_hash,
        )

    return await asyncio.to_thread(compare)


def _find_in_file(
    offline_app: OfflineApp, post: PostId, known_posts: Collection[PostId]
) -> Post | None:
    """Return a post of schedule.toml as written now; None if it is missing or wrong.

    `check` reports a wrong one.
    """
    settings = offline_app.settings
    try:
        toml = read_toml(settings.schedule_file, SCHEDULE_READ_LIMITS, ScheduleError)
    except ScheduleError:
        return None
    names, platforms = offline_app.post_renderer.templates.names, find_sources().keys()
    context = make_schedule_context(
        settings,
        templates=names,
        known_posts=frozenset(known_posts),
        platforms=platforms,
    )
    schedule, _problems = parse_leniently(toml, context)
    return next((found for found in schedule.posts if found.id == post), None)


def compare_contents(
    before: Sequence[RenderedPost], after: Sequence[RenderedPost]
) -> Iterator[str]:
    """Yield the different lines of each account's texts and pictures, as a unified diff."""

    def to_lines(rendered: RenderedPost | None) -> list[str]:
        if rendered is None:
            return []
        texts = [
            rendered.title,
            rendered.summary,
            *rendered.all_parts,
            rendered.link or "",
        ]
        pictures = [f"[{image.sha256[:16]}] {image.alt}" for image in rendered.images]
        return [line for text in texts for line in text.splitlines()] + pictures

    old, new = (
        {rendered.account: rendered for rendered in contents}
        for contents in (before, after)
    )
    for account in sorted({*old, *new}):
        lines = to_lines(old.get(account)), to_lines(new.get(account))
        yield from unified_diff(
            *lines, fromfile=account, tofile=account, n=0, lineterm=""
        )


def render_previews(
    terminal: Terminal, target: DeliveryTarget, only_account: AccountId | None
) -> Sequence[PostPreview]:
    """Render the next occurrence of a post, or of each member of a family.

    Raises NoSuchItemError if another one is asked for as well, or InputError.
    """
    post_id, settings = target.post, asyncio.run(load_settings(terminal.workspace))
    offline_app = build_offline_app(settings)
    toml = read_toml(settings.schedule_file, SCHEDULE_READ_LIMITS, ScheduleError)
    names, platforms = offline_app.post_renderer.templates.names, find_sources().keys()
    context = make_schedule_context(settings, templates=names, platforms=platforms)
    posts = {
        post.id: post
        for post in parse_schedule(toml.text, file=toml.file, context=context).posts
    }
    members = [
        post for post in posts.values() if post_id in {post.id, find_family(post.id)}
    ]
    if not members:
        raise NoSuchItemError("post", post_id, {*posts, *map(find_family, posts)})
    accounts = offline_app.post_renderer.accounts
    if only_account is not None and only_account not in accounts:
        raise NoSuchItemError("account", only_account, accounts)
    named = [
        post
        for post in members
        if only_account is None or only_account in post.accounts
    ]
    if not named:
        names_of_all = [f"{one.id}@{name}" for one in members for name in one.accounts]
        raise NoSuchItemError("delivery", f"{post_id}@{only_account}", names_of_all)
    return [
        render_member(offline_app, toml, posts, post, target, only_account)
        for post in named
    ]


def render_member(  # noqa: PLR0913, PLR0917 # the post, and which part of it
    offline_app: OfflineApp,
    toml: TomlDocument,
    posts: Mapping[PostId, Post],
    post: Post,
    target: DeliveryTarget,
    only_account: AccountId | None,
) -> PostPreview:
    settings = offline_app.settings
    occurrence = find_next_occurrence(post, datetime.now(UTC), settings.timezone)
    due = occurrence.due_at.astimezone(settings.timezone)
    if target.instant is not None and in_zone(target.instant, settings.timezone) != due:
        raise NoSuchItemError(
            "occurrence", target.text, [f"{target.post}#{due.isoformat()}"]
        )
    accounts = [only_account] if only_account else post.accounts
    result = offline_app.post_renderer.render(post, occurrence, accounts, posts)
    whole = (
        offline_app.post_renderer.render(post, occurrence, post.accounts, posts)
        if only_account
        else result
    )
    return PostPreview(
        settings=settings,
        post=post,
        due=due,
        result=result,
        problems=locate_problems(result.problems, text=toml.text, file=toml.file),
        fingerprint=hash_renditions(
            Rendition(
                account=rendered.account,
                kind=post.kind.value,
                rendered_hash=rendered.fingerprint,
            )
            for rendered in whole.rendered_posts
        ),
        capabilities={
            account: offline_app.policies[account].capabilities
            for account in post.accounts
        },
    )


def _print_rendered_post(
    terminal: Terminal,
    rendered_post: Mapping[str, Any],
    due: datetime,
    *,
    is_article: bool,
) -> None:
    """Print one rendered post of a preview's JSON.

    Of an article, only the visible text is printed, without its HTML.
    """
    platform = terminal.messages.platform_name(rendered_post["platform"])
    facts = {
        "platform": platform,
        "link": rendered_post["link"] or terminal.translate("nothing"),
    }
    terminal.print_message(
        "preview_head", **{**rendered_post, **facts, "due": f"{due:%Y-%m-%d %H:%M}"}
    )
    for picture in rendered_post["pictures"]:
        terminal.print_message("preview_image", **picture)
    parts = [rendered_post, *rendered_post["floors"]]
    for number, part in enumerate(parts, 1):
        if len(parts) > 1:
            place = {
                "number": number,
                "total": len(parts),
                "limit": rendered_post["limit"],
            }
            terminal.print_message("preview_part", **{**part, **place})
        text = article_lines(part["text"]) if is_article else part["text"]
        echo(SEPARATOR_LINE)
        echo(text, nl=not text.endswith("\n"))
        echo(SEPARATOR_LINE)
    if is_article:
        terminal.print_message("preview_article", **rendered_post)
    echo()
