"""`preview`: the very words, before anybody reads them."""

import asyncio
import hashlib
import webbrowser
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from publisher.cli.page import page_of
from publisher.cli.shape import PersonName, Said, WordedUsageError, command, json_option
from publisher.cli.terminal import Terminal, echo, shown_path
from publisher.cli.trouble import told
from publisher.domain.account import AccountId, Traits
from publisher.domain.errors import NoSuchError, ScheduleError
from publisher.domain.post import Occurrence, Post, PostId
from publisher.domain.problem import Problem
from publisher.domain.rendition import Picture, Rendition
from publisher.rendering.press import Proof
from publisher.schedule import SCHEDULE_LIMITS, desk_for, next_occurrence, parse_schedule, with_places
from publisher.settings import Settings, load_settings
from publisher.tomlfile import read_toml
from publisher.wiring.studio import build_studio

RULE = "─" * 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """One occurrence of a post, proved for some accounts."""

    settings: Settings
    post: Post
    occurrence: Occurrence
    proof: Proof
    problems: Sequence[Problem]
    traits: dict[AccountId, Traits]

    @property
    def due(self) -> datetime:
        return self.occurrence.due_at.astimezone(self.settings.timezone)


@command("preview")
@click.argument("post", metavar="POST", type=Said())
@click.option("--account", metavar="ACCOUNT", type=Said(), help="opt_account")
@click.option("--html", metavar="FILE", type=click.Path(path_type=Path), help="opt_html")
@click.option("--open", "opens", is_flag=True, help="opt_open")
@click.option("--to", metavar="WXNAME", type=Said(), help="opt_preview_to")
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
        raise WordedUsageError("preview_to_whom")
    shown = prove(terminal, PostId(post), AccountId(account) if account else None)
    if shown.problems:
        echo(told(shown.problems, terminal.messages), err=True)
    if as_json:
        terminal.show(_facts(shown))
    else:
        for rendition in shown.proof.renditions:
            _print(terminal, rendition, shown)
    if html or opens:
        file = (html or shown.settings.workspace / "var" / f"preview-{post}.html").absolute()
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(page_of(terminal.messages, shown.post, shown.due, shown.proof, shown.traits), "utf-8")
        terminal.note("page_written", file=shown_path(file))
        if opens:
            webbrowser.open(file.as_uri())
    if to and by:
        from publisher.cli.foreshowing import Showing, foreshow  # noqa: PLC0415 # opens the books, which looking must not

        return asyncio.run(
            foreshow(terminal, shown.settings, Showing(post=shown.post.id, proof=shown.proof, to=to, by=by))
        )
    return int(any(problem.is_error for problem in shown.problems))


def prove(terminal: Terminal, post_id: PostId, only: AccountId | None) -> Preview:
    """Render a post's next occurrence. Raises NoSuchError, InputError."""
    settings = asyncio.run(load_settings(terminal.workspace))
    studio = build_studio(settings)
    toml = read_toml(settings.workspace / "schedule.toml", SCHEDULE_LIMITS, ScheduleError)
    desk = desk_for(settings, templates=studio.press.templates.names)
    posts = {post.id: post for post in parse_schedule(toml.text, file=toml.file, desk=desk).posts}
    if (post := posts.get(post_id)) is None:
        raise NoSuchError("post", post_id)
    if only is not None and only not in studio.press.accounts:
        raise NoSuchError("account", only)
    if only is not None and only not in post.accounts:
        raise NoSuchError("delivery", f"{post_id}@{only}")
    occurrence = next_occurrence(post, datetime.now(UTC), settings.timezone)
    proof = studio.press.prove(post, occurrence, [only] if only else post.accounts, posts)
    return Preview(
        settings=settings,
        post=post,
        occurrence=occurrence,
        proof=proof,
        problems=with_places(proof.problems, text=toml.text, file=toml.file),
        traits={account: studio.terms[account].traits for account in post.accounts},
    )


def digest_of(text: str) -> str:
    """Give the SHA-256 of a text's bytes."""
    return hashlib.sha256(text.encode()).hexdigest()


def _print(terminal: Terminal, rendition: Rendition, shown: Preview) -> None:
    traits = shown.traits[rendition.account]
    named = f"platform_{rendition.platform}"
    terminal.say(
        "preview_head",
        account=rendition.account,
        platform=terminal.words(named) if named in terminal.messages.entries else rendition.platform,
        title=rendition.title,
        marker=rendition.marker.code,
        due=f"{shown.due:%Y-%m-%d %H:%M}",
        length=traits.measure(rendition.text),
        limit=traits.text_limit,
        link=rendition.link or terminal.words("nothing"),
        sha256=digest_of(rendition.text),
    )
    for picture in rendition.pictures:
        terminal.say("preview_picture", **_picture(picture))
    for number, floor in enumerate(rendition.all_floors, 1):
        if rendition.floors:
            facts = {"number": number, "total": len(rendition.all_floors), "limit": traits.text_limit}
            terminal.say("preview_floor", length=traits.measure(floor), sha256=digest_of(floor), **facts)
        echo(RULE)
        echo(floor, nl=not floor.endswith("\n"))
        echo(RULE)
    echo()


def _picture(picture: Picture) -> dict[str, Any]:
    return {
        "sha256": picture.sha256,
        "media_type": picture.media_type,
        "size": picture.size,
        "width": picture.width,
        "height": picture.height,
        "alt": picture.alt,
    }


def _facts(shown: Preview) -> dict[str, Any]:
    return {
        "post": shown.post.id,
        "due": shown.due.isoformat(),
        "renditions": [
            {
                "account": rendition.account,
                "platform": rendition.platform,
                "title": rendition.title,
                "text": rendition.text,
                "sha256": digest_of(rendition.text),
                "length": shown.traits[rendition.account].measure(rendition.text),
                "limit": shown.traits[rendition.account].text_limit,
                "summary": rendition.summary,
                "link": rendition.link,
                "marker": rendition.marker.code,
                "pictures": [_picture(picture) for picture in rendition.pictures],
                "floors": [
                    {
                        "text": floor,
                        "sha256": digest_of(floor),
                        "length": shown.traits[rendition.account].measure(floor),
                    }
                    for floor in rendition.floors
                ],
            }
            for rendition in shown.proof.renditions
        ],
    }
