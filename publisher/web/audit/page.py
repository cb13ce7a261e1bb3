"""The audit: all actions, searched by person, action and day, and exported in two forms."""

import asyncio
import codecs
import csv
import io
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import IO

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from publisher.app.history import describe_event
from publisher.domain.account import AccountId
from publisher.domain.audit_chain import Checkpoint
from publisher.domain.delivery import Role
from publisher.domain.post import PostId
from publisher.domain.user import Permission
from publisher.engine.checkpoints import build_checkpoint_targets, last_checkpoint
from publisher.store.queries.audit_log import AuditFilter, AuditRecord
from publisher.store.queries.queries import AuditLine
from publisher.web.calendar.page import midnight, parse_day
from publisher.web.kit.forms import parse_number
from publisher.web.kit.page import render_page
from publisher.web.kit.seats import AccountNames, name_accounts
from publisher.web.kit.site import Visitor, get_site, get_visitor

PAGE_SIZE = 50
MAX_READ = 600
"""How many entries a page reads to fill its lines: one act on many accounts is one line."""
ACT_PAUSE = timedelta(seconds=5)
"""The longest time between two entries of one act."""
EXPORT_PAGE_SIZE = 2_000
MAX_TEXT_CHARACTERS = 100
CHUNK_BYTES = 2**16


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSentence:
    """An entry as a sentence: person, action and subject, with the page of the subject, if any."""

    record: AuditRecord
    who: str
    text: str
    subject: str
    post: str
    """The post of the subject as pages call it, else the subject."""
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditAct:
    """One act of a person as one line. It has an entry for each account or post, newest first."""

    sentences: Sequence[AuditSentence]

    @property
    def first(self) -> AuditSentence:
        return self.sentences[0]

    @property
    def is_of_one_post(self) -> bool:
        """True if all of its entries are about one post."""
        posts = {split_subject(item.record.subject)[0] for item in self.sentences}
        return len(posts) == 1 and "" not in posts

    @property
    def accounts(self) -> int:
        """The number of accounts with an entry. The order itself may have one too."""
        return len(
            {split_subject(item.record.subject)[1] for item in self.sentences} - {""}
        )


def group_acts(sentences: Sequence[AuditSentence]) -> Sequence[AuditAct]:
    """Return entries, newest first, with those of one act together.

    They are in a row, of one person and kind, with one reason, and follow each other at once.
    """
    acts: list[list[AuditSentence]] = []
    for item in sentences:
        if acts and is_same_act(acts[-1][-1].record, item.record):
            acts[-1].append(item)
        else:
            acts.append([item])
    return [AuditAct(sentences=items) for items in acts]


def is_same_act(later: AuditRecord, earlier: AuditRecord) -> bool:
    return (
        later.role == Role.PERSON
        and (later.role, later.name, later.event)
        == (earlier.role, earlier.name, earlier.event)
        and later.detail.get("reason") == earlier.detail.get("reason")
        and later.at - earlier.at <= ACT_PAUSE
    )


def read_filter(visitor: Visitor, query: Mapping[str, str]) -> AuditFilter:
    """Return the filter of the visitor's search.

    A visitor without access to all accounts sees the entries about their own.
    """
    zone = visitor.site.settings.timezone
    first, last = parse_day(query.get("from", "")), parse_day(query.get("to", ""))
    before = parse_number(query.get("before", ""))
    return AuditFilter(
        text=query.get("q", "").strip()[:MAX_TEXT_CHARACTERS],
        by=query.get("by", ""),
        event=query.get("event", ""),
        since=midnight(first, zone) if first else None,
        until=midnight(last + timedelta(days=1), zone) if last else None,
        before=before if before > 0 else None,
        has_jobs="jobs" in query,
        accounts=visitor.reach(Permission.VIEW),
    )


def make_sentence(
    visitor: Visitor,
    record: AuditRecord,
    names: AccountNames,
    titles: Mapping[PostId, str],
) -> AuditSentence:
    line = AuditLine(
        at=record.at,
        role=record.role,
        name=record.name,
        event=record.event,
        before=record.before,
        after=record.after,
        detail=record.detail,
    )
    return AuditSentence(
        record=record,
        who=record.name
        if record.role == Role.PERSON
        else visitor.messages.translate("by_publisher"),
        text=describe_event(line, replace(visitor.formatter, when=None)),
        subject=name_subject(record.subject, names, titles),
        post=f"《{titles[post]}》"
        if (post := split_subject(record.subject)[0]) in titles
        else name_subject(record.subject, names, titles),
        path=path_of_subject(record.subject),
    )


def split_subject(subject: str) -> tuple[PostId, AccountId]:
    """Return the post and the account named as an entry's subject; both are empty for others."""
    named, at, account = subject.partition("@")
    kind, colon, name = subject.partition(":")
    if not at and colon:
        return (
            (PostId(name), AccountId(""))
            if kind == "post"
            else (PostId(""), AccountId(name * (kind == "account")))
        )
    return PostId(named.partition("#")[0]), AccountId(account)


def name_subject(
    subject: str, names: AccountNames, titles: Mapping[PostId, str]
) -> str:
    """Return the subject of an entry as pages call it: 《title》, region and platform, or both."""
    post, account = split_subject(subject)
    parts = [
        f"《{titles[post]}》" if post in titles else "",
        names.name(account) if account else "",
    ]
    return " ".join(filter(None, parts)) or subject


def path_of_subject(subject: str) -> str:
    """Return the page of an entry's subject: a delivery, an account or a post; empty for others."""
    named, at, account = subject.partition("@")
    post, _, occurrence = named.partition("#")
    if at:
        return f"/deliveries/{post}/{occurrence or 'once'}/{account}"
    kind, colon, name = subject.partition(":")
    if colon:
        return {"account": f"/accounts/{name}", "post": f"/posts/{name}"}.get(kind, "")
    return (
        f"/posts/{post}"
        if post not in {"all", "schedule", "audit", "database", "approvals"}
        else ""
    )


async def make_sentences(
    visitor: Visitor, records: Sequence[AuditRecord]
) -> Sequence[AuditSentence]:
    """Return entries as sentences, with the titles of their posts."""
    names = name_accounts(visitor.site.settings, visitor.messages)
    titles = await visitor.site.store.queries.titles(
        {split_subject(record.subject)[0] for record in records}
    )
    return [make_sentence(visitor, record, names, titles) for record in records]


async def show_audit(request: Request) -> Response:
    """List acts, newest first, as sentences. One act on many accounts is one line."""
    site, visitor = get_site(request), get_visitor(request)
    wanted = read_filter(visitor, request.query_params)
    async with site.audit_readers:
        found = await site.store.audit.search(wanted, MAX_READ + 1)
        people = await site.store.audit.people(wanted.accounts)
        events = await site.store.audit.events_of_people(wanted.accounts)
    all_acts = group_acts(await make_sentences(visitor, found[:MAX_READ]))
    acts = all_acts[:PAGE_SIZE]
    has_more = len(found) > MAX_READ or len(all_acts) > PAGE_SIZE
    return await render_page(
        request,
        "audit/audit",
        acts=acts,
        wanted=wanted,
        query=request.query_params,
        following=acts[-1].sentences[-1].record.id if has_more else None,
        people=people,
        events=events,
        checkpoint=await asyncio.to_thread(read_checkpoint, visitor),
        may_export=visitor.may_everywhere(Permission.EXPORT),
    )


def read_checkpoint(visitor: Visitor) -> Checkpoint | None:
    """Return the newest checkpoint outside the database; None if the file cannot be read."""
    try:
        return last_checkpoint(build_checkpoint_targets(visitor.site.settings).file)
    except OSError:
        return None


async def export(request: Request) -> Response:
    """Send entries: whole days as lines for `audit verify`, or the search result as a table."""
    site, visitor, query = get_site(request), get_visitor(request), request.query_params
    visitor.require_everywhere(Permission.EXPORT)
    wanted = read_filter(visitor, query)
    stamp = f"{site.runtime.now().astimezone(site.settings.timezone):%Y%m%d-%H%M}"
    file = tempfile.TemporaryFile()  # noqa: SIM115 # closed once it is sent
    if query.get("as") == "csv":
        name, media_type = f"audit-{stamp}.csv", "text/csv; charset=utf-8"
        await write_table(visitor, wanted, file)
    else:
        name, media_type = f"audit-{stamp}.jsonl", "application/x-ndjson"
        write = partial(write_text, file)
        await site.store.audit.export(write, wanted.since, wanted.until)
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(read_chunks(file), media_type=media_type, headers=headers)


def write_text(file: IO[bytes], text: str) -> None:
    file.write(text.encode("utf-8", "surrogateescape"))


def read_chunks(file: IO[bytes]) -> Iterator[bytes]:
    """Yield a file from its beginning, and close it."""
    with file:
        file.seek(0)
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


async def write_table(visitor: Visitor, wanted: AuditFilter, file: IO[bytes]) -> None:
    """Write entries as CSV, newest first, with a byte-order mark for spreadsheets."""
    translate, buffer = visitor.messages.translate, io.StringIO(newline="")
    writer = csv.writer(buffer)
    writer.writerow(
        [
            translate(f"pages_audit_{name}")
            for name in ("number", "time", "who", "what", "about", "hash")
        ]
    )
    file.write(codecs.BOM_UTF8)
    while True:
        async with visitor.site.audit_readers:
            found = await visitor.site.store.audit.search(wanted, EXPORT_PAGE_SIZE)
        if not found:
            break
        for item in await make_sentences(visitor, found):
            record = item.record
            cells = (
                visitor.formatter.full_time(record.at),
                record.name,
                item.text,
                item.subject,
            )
            writer.writerow([record.id, *map(safe_cell, cells), record.hash])
        file.write(buffer.getvalue().encode("utf-8", "replace"))
        buffer.seek(0)
        buffer.truncate()
        wanted = replace(wanted, before=found[-1].id)
    file.write(buffer.getvalue().encode("utf-8", "replace"))


def safe_cell(text: str) -> str:
    """Return a text that a spreadsheet does not take for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
