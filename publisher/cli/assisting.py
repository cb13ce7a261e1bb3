"""`assist`: what waits for a person to post by hand, and the report that it is done."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import click

from publisher.cli.handout import Handout, write_handout
from publisher.cli.looking import is_running
from publisher.cli.narrating import Narrator, covering
from publisher.cli.shape import OneOf, PersonName, WordedUsageError, command, json_option
from publisher.cli.target import Target, TargetType, deliveries_of
from publisher.cli.terminal import Terminal, echo, shown_path
from publisher.cli.workplace import books_of, has_books, settings_of
from publisher.domain.account import Account
from publisher.domain.delivery import State
from publisher.domain.post import name_at
from publisher.domain.task import task_of
from publisher.reviewing import person
from publisher.settings import Settings
from publisher.store.board import Board, Pause
from publisher.store.books import Books
from publisher.store.tasks import OpenTask, Tasks

RULE = "-" * 72
MINUTE = 60


@command("assist")
@click.argument("done", metavar="[done", type=OneOf("done"), required=False)
@click.argument("target", metavar="POST@ACCOUNT", type=TargetType(wants_account=True), required=False)
@click.argument("url", metavar="URL]", required=False)
@click.option("--by", "by", metavar="NAME", type=PersonName(), help="opt_by_done")
@json_option
def assist(  # noqa: PLR0913 # one argument an option
    terminal: Terminal, done: str | None, target: Target | None, url: str | None, by: str | None, *, as_json: bool
) -> int:
    if done is None:
        asyncio.run(_list(terminal, as_json=as_json))
        return 0
    if target is None or url is None or by is None:
        raise WordedUsageError("done_wants_all")
    if urlsplit(url).scheme not in {"http", "https"}:
        raise WordedUsageError("done_wants_address", url=url)
    asyncio.run(_report(terminal, target, url, by))
    return 0


async def _report(terminal: Terminal, target: Target, url: str, by: str) -> None:
    settings = await settings_of(terminal)
    narrator = Narrator(messages=terminal.messages, timezone=settings.timezone)
    async with books_of(settings) as books:
        board = Board(books)
        found = await deliveries_of(board, target, settings.timezone, lambda item: task_of(item.ticket) is not None)
        receipt = found[0].receipt
        if found[0].state is State.PUBLISHED and receipt is not None:  # it was seen before anybody reported it
            terminal.say("done_already", subject=narrator.subject(found[0]), url=receipt.url)
            return
        await Tasks(books).report(found[0].id, url, person(by))
        runs = await is_running(board)
    terminal.say("done_noted", subject=narrator.subject(found[0]))
    if not runs:
        terminal.note("no_daemon_hint")


async def _list(terminal: Terminal, *, as_json: bool) -> None:
    settings = await settings_of(terminal)
    narrator = Narrator(messages=terminal.messages, timezone=settings.timezone)
    tasks: Sequence[OpenTask] = ()
    handouts: list[Handout] = []
    pauses: Sequence[Pause] = ()
    now = datetime.now(settings.timezone)
    if has_books(settings):
        async with books_of(settings) as books:
            tasks = await Tasks(books).open()
            handouts = [await _hand_out(task, settings, books) for task in tasks]
            pauses, now = await Board(books).pauses(), books.world.now()
    told = list(zip(tasks, handouts, strict=True))
    if as_json:
        rows = [_row(task, handout, narrator, now) for task, handout in told]
        for row, task in zip(rows, tasks, strict=True):
            account = settings.accounts.get(task.delivery.account)
            row["identity"], row["forum"] = (account.identity, account.forum) if account else (None, None)
            row["paused"] = bool(covering(pauses, task.delivery))
        terminal.show({"tasks": rows})
        return
    terminal.say("tasks_title" if tasks else "tasks_none", number=len(tasks))
    for task, handout in told:
        account = settings.accounts.get(task.delivery.account)
        _print(terminal, task, handout, narrator, now, account)
        for pause in covering(pauses, task.delivery):
            echo(narrator.pause("task_paused", pause))


async def _hand_out(task: OpenTask, settings: Settings, books: Books) -> Handout:
    delivery = task.delivery
    terms = books.terms.get(delivery.account)
    name = name_at(delivery.key.post, delivery.key.label, delivery.account)
    folder = settings.workspace / "var" / "assist" / name
    data = await Tasks(books).pictures(task.rendition)
    return await asyncio.to_thread(
        write_handout, folder, task.rendition, data, is_article=terms is not None and terms.traits.is_article
    )


def _row(task: OpenTask, handout: Handout, narrator: Narrator, now: datetime) -> dict[str, Any]:
    delivery, rendition, report = task.delivery, task.rendition, task.task
    return {
        "post": delivery.key.post,
        "occurrence": narrator.occurrence(delivery),
        "account": delivery.account,
        "platform": delivery.platform,
        "title": rendition.title,
        "text": task.text,
        "summary": rendition.summary,
        "link": rendition.link,
        "marker": rendition.marker.code,
        "folder": str(handout.folder),
        "article": str(handout.article) if handout.article else None,
        "pictures": [str(picture) for picture in handout.pictures] if not task.floor else [],
        "floor": {"number": task.floor + 1, "under": delivery.receipt.url} if task.floor and delivery.receipt else None,
        "deadline": narrator.iso(delivery.expires_at),
        "handed": narrator.iso(report.handed_at),
        "waiting_seconds": int((now - report.handed_at).total_seconds()),
        "reported": {"url": report.url, "by": report.by, "at": narrator.iso(report.done_at)} if report.by else None,
    }


def _print(  # noqa: PLR0913, PLR0917 # all that one task is told with
    terminal: Terminal, task: OpenTask, handout: Handout, narrator: Narrator, now: datetime, account: Account | None
) -> None:
    delivery, rendition, report = task.delivery, task.rendition, task.task
    facts = {
        "subject": narrator.subject(delivery),
        "account": delivery.account,
        "platform": narrator.platform(delivery.platform),
        "place": narrator.place(delivery.platform),
        "deadline": narrator.time(delivery.expires_at),
        "minutes": int((now - report.handed_at).total_seconds()) // MINUTE,
        "marker": rendition.marker.code,
        "title": rendition.title,
        "summary": rendition.summary or terminal.words("nothing"),
        "link": rendition.link or terminal.words("nothing"),
    }
    echo()
    terminal.say("task_head", **facts)
    if account is not None:
        terminal.say("task_in_forum" if account.forum else "task_as", identity=account.identity, forum=account.forum)
    if task.floor and delivery.receipt:
        total = len(rendition.all_floors)
        terminal.say("task_floor", number=task.floor + 1, total=total, url=delivery.receipt.url)
    else:
        terminal.say("task_titles" if rendition.summary else "task_title", **facts)
    if handout.article:
        terminal.say("task_article", file=shown_path(handout.article), **facts)
    else:
        terminal.say("task_copy", **facts)
        echo(RULE)
        echo(task.text, nl=not task.text.endswith("\n"))
        echo(RULE)
    for picture, file in zip(rendition.pictures if not task.floor else (), handout.pictures, strict=False):
        terminal.say("task_picture", file=shown_path(file), alt=picture.alt)
    if (note := f"task_note_{delivery.platform}") in terminal.messages.entries:
        terminal.say(note, **facts)
    if report.by:
        terminal.say("task_reported", by=report.by, url=report.url, at=narrator.time(report.done_at))
    else:
        terminal.say("task_then", **facts)
