"""`assist`: list the open manual tasks, or report one as done."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from publisher.app.format import Formatter, pauses_covering
from publisher.cli.authentication import authenticate
from publisher.cli.context import (
    has_database,
    load_workspace_settings,
    open_command_store,
    warn_about_daemon,
)
from publisher.cli.framework import (
    LocalizedUsageError,
    choice,
    command,
    json_option,
    one_line,
    person_name,
)
from publisher.cli.target import DeliveryTarget, delivery_target, find_delivery
from publisher.cli.terminal import Terminal, display_path, echo
from publisher.config import Settings
from publisher.domain.account import Account
from publisher.domain.delivery import State
from publisher.domain.post import format_delivery_name
from publisher.store.manual_tasks import OpenManualTask
from publisher.store.queries.queries import Pause

SUFFIXES = {
    "image/jpeg": "jpg",
    "image/png": "png",
    "image/gif": "gif",
    "image/bmp": "bmp",
    "image/webp": "webp",
}
PAGE_TEMPLATE = (
    '<!doctype html>\n<html lang="zh-CN">\n<meta charset="utf-8">\n'
    "<title>{title}</title>\n{body}\n</html>\n"
)
SEPARATOR_LINE = "-" * 72


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedTask:
    """An open task with its files: stored images by hash; for an article its page."""

    task: OpenManualTask
    account: Account | None
    folder: Path
    images: Mapping[str, Path]
    article: Path | None

    def as_json(
        self, pauses: Sequence[Pause], formatter: Formatter, now: datetime
    ) -> dict[str, Any]:
        delivery, rendered, report = (
            self.task.delivery,
            self.task.rendered,
            self.task.task,
        )
        under = delivery.receipt.url if self.task.part and delivery.receipt else None
        reported = {
            "url": report.url,
            "by": report.reported_by,
            "at": formatter.iso(report.done_at),
        }
        return {
            **formatter.key_as_json(delivery),
            "title": rendered.title,
            "text": self.task.text,
            "summary": rendered.summary,
            "link": rendered.link,
            "marker": rendered.marker.code,
            "folder": str(self.folder),
            "article": str(self.article) if self.article else None,
            "pictures": []
            if self.task.part
            else [str(file) for file in self.images.values()],
            "missing_pictures": []
            if self.task.part
            else [
                image.alt
                for image in rendered.images
                if image.sha256 not in self.images
            ],
            "floor": None
            if under is None
            else {"number": self.task.part + 1, "under": under},
            "deadline": formatter.iso(delivery.expires_at),
            "handed": formatter.iso(report.assigned_at),
            "waiting_seconds": int((now - report.assigned_at).total_seconds()),
            "reported": reported if report.reported_by else None,
            "identity": self.account.identity if self.account else None,
            "forum": self.account.forum if self.account else None,
            "paused": bool(pauses_covering(pauses, delivery)),
        }


@command("assist")
@click.argument("done", metavar="[done", type=choice("done"), required=False)
@click.argument("target", metavar="POST@ACCOUNT", type=delivery_target, required=False)
@click.argument("url", metavar="URL]", type=one_line, required=False)
@click.option("--by", "by", metavar="NAME", type=person_name, help="opt_by_done")
@json_option
async def assist(  # noqa: PLR0913 # one argument an option
    terminal: Terminal,
    done: str | None,
    target: DeliveryTarget | None,
    url: str | None,
    by: str | None,
    *,
    as_json: bool,
) -> None:
    if done is None:
        await _list_tasks(terminal, as_json=as_json)
        return
    if target is None or url is None or by is None:
        raise LocalizedUsageError("assist_done_usage")
    if urlsplit(url).scheme not in {"http", "https"}:
        raise LocalizedUsageError("assist_done_bad_url", url=url)
    settings = await load_workspace_settings(terminal)
    formatter = Formatter(messages=terminal.messages, timezone=settings.timezone)
    async with open_command_store(settings) as store:
        queries = store.queries
        delivery = await find_delivery(
            queries,
            target,
            settings.timezone,
            lambda item: item.manual_task is not None,
        )
        subject, receipt = formatter.subject(delivery), delivery.receipt
        # it was found before a person reported it
        if delivery.state is State.PUBLISHED and receipt is not None:
            terminal.print_message(
                "assist_done_already", subject=subject, url=receipt.url
            )
            return
        accounts = [delivery.account]
        person = await authenticate(
            terminal, settings, store, command="assist done", by=by, accounts=accounts
        )
        await store.manual_tasks.record_report(delivery.id, url, person)
        terminal.print_message("assist_done_recorded", subject=subject)
        await warn_about_daemon(terminal, settings, queries)


async def _list_tasks(terminal: Terminal, *, as_json: bool) -> None:
    settings = await load_workspace_settings(terminal)
    formatter = Formatter(messages=terminal.messages, timezone=settings.timezone)
    listed: list[ListedTask] = []
    pauses: Sequence[Pause] = ()
    now = datetime.now(settings.timezone)
    if has_database(settings):
        async with open_command_store(settings) as store:
            for task in await store.manual_tasks.list_open():
                pictures = await store.manual_tasks.read_pictures(task.rendered)
                policy = store.policies.get(task.delivery.account)
                is_article = policy is not None and policy.capabilities.is_article
                listed.append(
                    await asyncio.to_thread(
                        write_task_files, settings, task, pictures, is_article
                    )
                )
            pauses, now = await store.queries.pauses(), store.runtime.now()
    if as_json:
        terminal.print_json(
            {"tasks": [item.as_json(pauses, formatter, now) for item in listed]}
        )
        return
    terminal.print_message(
        "assist_title" if listed else "assist_none", number=len(listed)
    )
    for item in listed:
        _print_task(terminal, item, formatter, now)
        for pause in pauses_covering(pauses, item.task.delivery):
            echo(formatter.pause("assist_paused", pause))


def write_task_files(
    settings: Settings,
    task: OpenManualTask,
    pictures: Mapping[str, bytes],
    is_article: bool,  # noqa: FBT001 # to_thread passes positions
) -> ListedTask:
    """Write a task's files, over older ones of the same names.

    `pictures` lacks the pictures that are no longer stored.
    """
    delivery, rendered = task.delivery, task.rendered
    name = format_delivery_name(
        delivery.key.post, delivery.key.occurrence, delivery.account
    )
    folder = settings.workspace / "var" / "assist" / name
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        image.sha256: folder / f"{number:02}.{SUFFIXES.get(image.media_type, 'bin')}"
        for number, image in enumerate(rendered.images, 1)
        if image.sha256 in pictures
    }
    for sha256, file in files.items():
        file.write_bytes(pictures[sha256])
    article = folder / "article.html" if is_article else None
    if article is not None:
        body = rendered.text
        for sha256, file in files.items():
            body = body.replace(f"media:{sha256}", file.name)
        title = rendered.title.replace("&", "&amp;").replace("<", "&lt;")
        article.write_text(PAGE_TEMPLATE.format(title=title, body=body), "utf-8")
    account = settings.accounts.get(delivery.account)
    return ListedTask(
        task=task, account=account, folder=folder, images=files, article=article
    )


def _print_task(
    terminal: Terminal, item: ListedTask, formatter: Formatter, now: datetime
) -> None:
    task = item.task
    delivery = item.task.delivery
    rendered = item.task.rendered
    report = item.task.task
    facts = {
        "subject": formatter.subject(delivery),
        "account": delivery.account,
        "platform": formatter.messages.platform_name(delivery.platform),
        "place": formatter.sign_in_place(delivery.platform),
        "deadline": formatter.time(delivery.expires_at),
        "minutes": int((now - report.assigned_at).total_seconds()) // 60,
        "marker": rendered.marker.code,
        "title": rendered.title,
        "summary": rendered.summary or terminal.translate("nothing"),
        "link": rendered.link or terminal.translate("nothing"),
    }
    echo()
    terminal.print_message("assist_head", **facts)
    if item.account is not None:
        code = "assist_account_forum" if item.account.forum else "assist_account"
        terminal.print_message(
            code, identity=item.account.identity, forum=item.account.forum
        )
    if task.part and delivery.receipt:
        total = len(rendered.all_parts)
        terminal.print_message(
            "assist_part", number=task.part + 1, total=total, url=delivery.receipt.url
        )
    else:
        terminal.print_message(
            "assist_post_titles" if rendered.summary else "assist_post_title", **facts
        )
    if item.article:
        terminal.print_message(
            "assist_article", file=display_path(item.article), **facts
        )
    else:
        terminal.print_message("assist_copy_text", **facts)
        echo(SEPARATOR_LINE)
        echo(task.text, nl=not task.text.endswith("\n"))
        echo(SEPARATOR_LINE)
    for picture in rendered.images if not task.part else ():
        if file := item.images.get(picture.sha256):
            terminal.print_message(
                "assist_image", file=display_path(file), alt=picture.alt
            )
        else:
            terminal.print_message("assist_image_missing", alt=picture.alt)
    if (note := f"assist_note_{delivery.platform}") in terminal.messages.entries:
        terminal.print_message(note, **facts)
    if report.reported_by:
        reported_at = formatter.time(report.done_at)
        terminal.print_message(
            "assist_reported", by=report.reported_by, url=report.url, at=reported_at
        )
    else:
        terminal.print_message("assist_report_done", **facts)
