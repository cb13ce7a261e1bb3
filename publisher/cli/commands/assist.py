"""`assist`: what waits for a person to post by hand, and the report that it is done."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from publisher.cli.context import has_database, load_workspace_settings, open_command_store
from publisher.cli.format import Formatter, pauses_covering
from publisher.cli.framework import LocalizedChoice, LocalizedUsageError, PersonName, command, json_option
from publisher.cli.snapshot import is_daemon_running
from publisher.cli.target import DeliveryTarget, TargetParam, find_deliveries
from publisher.cli.terminal import Terminal, display_path, echo
from publisher.config import Settings
from publisher.domain.account import Account
from publisher.domain.delivery import State, parse_manual_task
from publisher.domain.post import format_delivery_name
from publisher.domain.rendered import RenderedImage, RenderedPost
from publisher.engine.decisions import named_person
from publisher.store.plan.manual_tasks import ManualTasks, OpenManualTask
from publisher.store.queries.queries import Pause, Queries
from publisher.store.store import Store

_SUFFIXES = {"image/jpeg": "jpg", "image/png": "png", "image/gif": "gif", "image/bmp": "bmp", "image/webp": "webp"}
_PAGE_TEMPLATE = (
    '<!doctype html>\n<html lang="zh-CN">\n<meta charset="utf-8">\n<title>{title}</title>\n{body}\n</html>\n'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ManualTaskFiles:
    """A folder with a task's files. `pictures` are in the order of the rendition; `article` is the page, if any."""

    folder: Path
    pictures: Sequence[Path]
    article: Path | None = None


def write_task_files(
    folder: Path, rendered: RenderedPost, data: Mapping[str, bytes], *, is_article: bool
) -> ManualTaskFiles:
    """Write a task's files, over older ones of the same names. What has left the books is left out."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        picture.sha256: folder / _picture_name(number, picture)
        for number, picture in enumerate(rendered.images, 1)
        if picture.sha256 in data
    }
    for sha256, file in files.items():
        file.write_bytes(data[sha256])
    article = folder / "article.html" if is_article else None
    if article is not None:
        article.write_text(_article_page(rendered, files), "utf-8")
    return ManualTaskFiles(folder=folder, pictures=list(files.values()), article=article)


def _picture_name(number: int, picture: RenderedImage) -> str:
    return f"{number:02}.{_SUFFIXES.get(picture.media_type, 'bin')}"


def _article_page(rendered: RenderedPost, files: Mapping[str, Path]) -> str:
    body = rendered.text
    for sha256, file in files.items():
        body = body.replace(f"media:{sha256}", file.name)
    title = rendered.title.replace("&", "&amp;").replace("<", "&lt;")
    return _PAGE_TEMPLATE.format(title=title, body=body)


SEPARATOR_LINE = "-" * 72
MINUTE_SECONDS = 60


@command("assist")
@click.argument("done", metavar="[done", type=LocalizedChoice("done"), required=False)
@click.argument("target", metavar="POST@ACCOUNT", type=TargetParam(wants_account=True), required=False)
@click.argument("url", metavar="URL]", required=False)
@click.option("--by", "by", metavar="NAME", type=PersonName(), help="opt_by_done")
@json_option
def assist(  # noqa: PLR0913 # one argument an option
    terminal: Terminal,
    done: str | None,
    target: DeliveryTarget | None,
    url: str | None,
    by: str | None,
    *,
    as_json: bool,
) -> int:
    if done is None:
        asyncio.run(_list_tasks(terminal, as_json=as_json))
        return 0
    if target is None or url is None or by is None:
        raise LocalizedUsageError("assist_done_usage")
    if urlsplit(url).scheme not in {"http", "https"}:
        raise LocalizedUsageError("assist_done_bad_url", url=url)
    asyncio.run(_report_done(terminal, target, url, by))
    return 0


async def _report_done(terminal: Terminal, target: DeliveryTarget, url: str, by: str) -> None:
    settings = await load_workspace_settings(terminal)
    formatter = Formatter(messages=terminal.messages, timezone=settings.timezone)
    async with open_command_store(settings) as store:
        queries = Queries(store)
        found = await find_deliveries(
            queries, target, settings.timezone, lambda item: parse_manual_task(item.ticket) is not None
        )
        receipt = found[0].receipt
        if found[0].state is State.PUBLISHED and receipt is not None:  # it was seen before anybody reported it
            terminal.print_message("assist_done_already", subject=formatter.subject(found[0]), url=receipt.url)
            return
        await ManualTasks(store).record_report(found[0].id, url, named_person(by))
        runs = await is_daemon_running(queries)
    terminal.print_message("assist_done_recorded", subject=formatter.subject(found[0]))
    if not runs:
        terminal.print_note("no_daemon_hint")


async def _list_tasks(terminal: Terminal, *, as_json: bool) -> None:
    settings = await load_workspace_settings(terminal)
    formatter = Formatter(messages=terminal.messages, timezone=settings.timezone)
    tasks: Sequence[OpenManualTask] = ()
    task_files: list[ManualTaskFiles] = []
    pauses: Sequence[Pause] = ()
    now = datetime.now(settings.timezone)
    if has_database(settings):
        async with open_command_store(settings) as store:
            tasks = await ManualTasks(store).list_open()
            task_files = [await _write_task_files(task, settings, store) for task in tasks]
            pauses, now = await Queries(store).pauses(), store.runtime.now()
    listed = list(zip(tasks, task_files, strict=True))
    if as_json:
        rows = [_task_as_json(task, files, formatter, now) for task, files in listed]
        for row, task in zip(rows, tasks, strict=True):
            account = settings.accounts.get(task.delivery.account)
            row["identity"], row["forum"] = (account.identity, account.forum) if account else (None, None)
            row["paused"] = bool(pauses_covering(pauses, task.delivery))
        terminal.print_json({"tasks": rows})
        return
    terminal.print_message("assist_title" if tasks else "assist_none", number=len(tasks))
    for task, files in listed:
        account = settings.accounts.get(task.delivery.account)
        _print_task(terminal, task, files, formatter, now, account)
        for pause in pauses_covering(pauses, task.delivery):
            echo(formatter.pause("assist_paused", pause))


async def _write_task_files(task: OpenManualTask, settings: Settings, store: Store) -> ManualTaskFiles:
    delivery = task.delivery
    policy = store.policies.get(delivery.account)
    name = format_delivery_name(delivery.key.post, delivery.key.occurrence, delivery.account)
    folder = settings.workspace / "var" / "assist" / name
    data = await ManualTasks(store).read_pictures(task.rendered)
    return await asyncio.to_thread(
        write_task_files, folder, task.rendered, data, is_article=policy is not None and policy.capabilities.is_article
    )


def _task_as_json(
    task: OpenManualTask, task_files: ManualTaskFiles, formatter: Formatter, now: datetime
) -> dict[str, Any]:
    delivery, rendered, report = task.delivery, task.rendered, task.task
    return {
        "post": delivery.key.post,
        "occurrence": formatter.occurrence(delivery),
        "account": delivery.account,
        "platform": delivery.platform,
        "title": rendered.title,
        "text": task.text,
        "summary": rendered.summary,
        "link": rendered.link,
        "marker": rendered.marker.code,
        "folder": str(task_files.folder),
        "article": str(task_files.article) if task_files.article else None,
        "pictures": [str(picture) for picture in task_files.pictures] if not task.part else [],
        "floor": {"number": task.part + 1, "under": delivery.receipt.url} if task.part and delivery.receipt else None,
        "deadline": formatter.iso(delivery.expires_at),
        "handed": formatter.iso(report.assigned_at),
        "waiting_seconds": int((now - report.assigned_at).total_seconds()),
        "reported": {"url": report.url, "by": report.reported_by, "at": formatter.iso(report.done_at)}
        if report.reported_by
        else None,
    }


def _print_task(  # noqa: PLR0913, PLR0917 # all that one task is told with
    terminal: Terminal,
    task: OpenManualTask,
    task_files: ManualTaskFiles,
    formatter: Formatter,
    now: datetime,
    account: Account | None,
) -> None:
    delivery, rendered, report = task.delivery, task.rendered, task.task
    facts = {
        "subject": formatter.subject(delivery),
        "account": delivery.account,
        "platform": formatter.platform(delivery.platform),
        "place": formatter.sign_in_place(delivery.platform),
        "deadline": formatter.time(delivery.expires_at),
        "minutes": int((now - report.assigned_at).total_seconds()) // MINUTE_SECONDS,
        "marker": rendered.marker.code,
        "title": rendered.title,
        "summary": rendered.summary or terminal.translate("nothing"),
        "link": rendered.link or terminal.translate("nothing"),
    }
    echo()
    terminal.print_message("assist_head", **facts)
    if account is not None:
        terminal.print_message(
            "assist_account_forum" if account.forum else "assist_account",
            identity=account.identity,
            forum=account.forum,
        )
    if task.part and delivery.receipt:
        total = len(rendered.all_parts)
        terminal.print_message("assist_part", number=task.part + 1, total=total, url=delivery.receipt.url)
    else:
        terminal.print_message("assist_post_titles" if rendered.summary else "assist_post_title", **facts)
    if task_files.article:
        terminal.print_message("assist_article", file=display_path(task_files.article), **facts)
    else:
        terminal.print_message("assist_copy_text", **facts)
        echo(SEPARATOR_LINE)
        echo(task.text, nl=not task.text.endswith("\n"))
        echo(SEPARATOR_LINE)
    for picture, file in zip(rendered.images if not task.part else (), task_files.pictures, strict=False):
        terminal.print_message("assist_image", file=display_path(file), alt=picture.alt)
    if (note := f"assist_note_{delivery.platform}") in terminal.messages.entries:
        terminal.print_message(note, **facts)
    if report.reported_by:
        terminal.print_message(
            "assist_reported", by=report.reported_by, url=report.url, at=formatter.time(report.done_at)
        )
    else:
        terminal.print_message("assist_report_done", **facts)
