"""Converts artefacts to a History."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, TypeVar

from .artefacts import Artefacts
from .history import (
    MICRO,
    Approvable,
    AuditedAct,
    Duty,
    Earlier,
    ExpectedPlan,
    History,
    Intent,
    Interruption,
    Issue,
    Message,
    Outage,
    PersonAction,
    PublishedCopy,
    RecordedAlert,
    RecordedAttempt,
    RecordedDelivery,
    RecordedNotice,
    RecordedPolicy,
    RecordedReadback,
    RequiredStage,
    RunSettings,
    ScheduleVersion,
    Sighting,
    SimulatorLogEntry,
    Stamps,
    Words,
    WrongClock,
)

Table = Mapping[str, Any]
T = TypeVar("T")


def history_of(found: Artefacts) -> History:
    """Return the run behind the artefacts. Raises ValueError for a wrong shape."""
    try:
        return History(
            given=_given(found),
            **_platforms(found),
            **_database(found),
            **_words(found),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"an artefact has not the shape that docs/checker.md names: {error!r}"
        ) from error


def _given(found: Artefacts) -> frozenset[str]:
    more = {
        "database": found.rows,
        "journal": found.journals,
        "canaries": found.leaks,
        "replay": found.replay,
    }
    return frozenset(
        {
            *found.lists,
            *found.documents,
            *(name for name, value in more.items() if value is not None),
        }
    )


def _platforms(found: Artefacts) -> dict[str, Any]:
    return {
        "log": [_entry(line) for line in found.lists.get("log", ())],
        "copies": {
            line["id"]: _copy(line) for line in found.documents.get("posts", ())
        },
    }


def _database(found: Artefacts) -> dict[str, Any]:
    rows = found.rows or {}
    true = Stamps(
        _plan(found.documents.get("plan", {})).clocks,
        found.documents.get("instants", {}),
    )
    earlier = _earlier(found.documents.get("earlier", ()), rows)
    past = {one.id for one in earlier}
    of_past = [
        row
        for row in (*rows.get("delivery", ()), *rows.get("attempt", ()))
        if _delivery_id(row) in past
    ]
    past_words = {row["rendered_hash"] for row in of_past}
    return {
        "earlier": earlier,
        "deliveries": {
            row["id"]: _delivery(row, true)
            for row in rows.get("delivery", ())
            if row["id"] not in past
        },
        "attempts": [
            _attempt(row, true)
            for row in rows.get("attempt", ())
            if row["delivery"] not in past
        ],
        "readbacks": [
            _readback(row, true)
            for row in rows.get("readback", ())
            if row["delivery"] not in past
        ],
        "audit": [_act(row, true) for row in rows.get("audit", ())],
        "alerts": [_alert(row, true) for row in rows.get("alert", ())],
        "notices": [_notice(row, true) for row in rows.get("notice", ())],
        "words": {
            row["fingerprint"]: _frozen(row)
            for row in rows.get("rendered_post", ())
            if row["fingerprint"] not in past_words
        },
        "versions": [_version(row, true) for row in rows.get("schedule", ())],
        "media": {
            row["sha256"]: hashlib.sha256(row["data"]).hexdigest()
            for row in rows.get("media", ())
        },
        "sightings": [_sighting(row, true) for row in rows.get("observed_post", ())],
        "approvables": [_approvable(row) for row in rows.get("approvable_text", ())],
        "database_info": {
            row["key"]: row["value"] for row in rows.get("database_info", ())
        },
        "journals_kept_since": [
            max((_kept_since(value) for _line, value in journal), default=0)
            for journal in found.journals or ()
        ],
        "journal": [
            _intent(line, value)
            for journal in found.journals or ()
            for line, value in journal
            if value.get("delivery") not in {None, *past}
        ],
        "true": true,
    }


def _earlier(
    known: Sequence[Table], rows: Mapping[str, Sequence[Table]]
) -> Sequence[Earlier]:
    now = {row["id"]: row for row in rows.get("delivery", ())} if known else {}
    return [
        Earlier(
            id=one["id"],
            before=one,
            after={name: now.get(one["id"], {}).get(name) for name in one},
        )
        for one in known
    ]


def _delivery_id(row: Table) -> int:
    """Give the delivery of a row of the deliveries or of the attempts."""
    number: int = row.get("delivery", row["id"])
    return number


def _words(found: Artefacts) -> dict[str, Any]:
    """Return the fields of a History that come from the makers of the run."""
    lists, documents = found.lists, found.documents
    return {
        "plan": _plan(documents.get("plan", {})),
        "settings": _settings(documents.get("settings", {})),
        "status": _status(documents.get("status", ())),
        "actions": [
            _action(line, value)
            for line, value in enumerate(lists.get("actions", ()), 1)
        ],
        "interruptions": [
            _interruption(value) for value in lists.get("interruptions", ())
        ],
        "messages": [
            _message(line, value)
            for line, value in enumerate(lists.get("messages", ()), 1)
        ],
        **{
            name: lists.get(name, ())
            for name in ("timings", "metrics", "connections", "anchors")
        },
        "leaks": found.leaks or (),
        "replay": history_of(found.replay) if found.replay else None,
    }


def seconds(value: str | float | None) -> float | None:
    """Give an instant written as ISO 8601 with its offset, or as seconds since 1970."""
    if value is None or isinstance(value, int | float):
        return value
    instant = datetime.fromisoformat(value)
    if instant.tzinfo is None:
        raise ValueError(f"an instant without an offset: {value}")
    return instant.timestamp()


def post_id(remote_id: str | None) -> str | None:
    """Return the platform's own name of a post. A mass send adds the job's number to the page's."""
    return (
        remote_id.split("-")[1]
        if remote_id and remote_id.startswith("mass-")
        else remote_id
    )


def instant_of(label: str) -> str:
    """Return the one spelling of an instant, or the label itself if it is no instant."""
    try:
        return datetime.fromisoformat(label).astimezone(UTC).isoformat()
    except ValueError:
        return label


def _instant(value: int) -> float:
    return value / MICRO


def _certain(value: str | float) -> float:
    found = seconds(value)
    if found is None:
        raise ValueError("an instant is missing")
    return found


def _json(text: str | None) -> dict[str, Any]:
    value = json.loads(text) if text else {}
    return value if isinstance(value, dict) else {}


def _fill(kind: type[T], row: Table, **more: Any) -> T:
    """Make an object from columns with the names of its fields, and converted values in `more`."""
    # all kinds are dataclasses
    names = {field.name for field in fields(kind)} & row.keys()  # type: ignore[arg-type]
    return kind(**{name: row[name] for name in names} | more)


def _entry(line: Table) -> SimulatorLogEntry:
    began = line.get("began") or line["t"]
    platform = line["platform"] or ""
    account = line["account"] or ""
    return _fill(
        SimulatorLogEntry,
        line,
        at=line["t"],
        began=began,
        platform=platform,
        account=account,
    )


def _copy(line: Table) -> PublishedCopy:
    extra = line.get("extra") or {}
    return _fill(
        PublishedCopy,
        line,
        created=_certain(line["created"]),
        images=tuple(line.get("images") or ()),
        is_removed=bool(line.get("removed")),
        is_visible=bool(line.get("visible")),
        thread=extra.get("thread"),
        is_rewritten=bool(extra.get("rewritten")),
    )


def _delivery(row: Table, true: Stamps) -> RecordedDelivery:
    return _fill(
        RecordedDelivery,
        row,
        label=row["occurrence"],
        revision=row["revision_hash"],
        rendition=row["rendered_hash"],
        due=_instant(row["due_at"]),
        expires=_instant(row["expires_at"]),
        max_delay=_instant(row["max_delay"]),
        updated=true.micros(row["updated_at"]),
        next=true.of_any("delivery", row, "next_action_at"),
        remote_id=post_id(row["remote_id"]),
        has_ticket=row.get("ticket") is not None,
    )


def _attempt(row: Table, true: Stamps) -> RecordedAttempt:
    intended = true.of("attempt", row, "intended_at")
    ended = true.of_any("attempt", row, "ended_at")
    detail = _json(row["detail"])
    until = seconds(detail.get("until")) if row["outcome"] == "rate_limited" else None
    if until is not None:  # it was written by the clock that ended the attempt
        until = (
            true(until)
            if ended is None or not true.instants
            else ended + until - _instant(row["ended_at"])
        )
    return _fill(
        RecordedAttempt,
        row,
        rendition=row["rendered_hash"],
        since=intended - _instant(row["intended_at"] - row["baseline_at"]),
        intended=intended,
        ended=ended,
        detail=detail,
        stamp=row["intended_at"],
        baseline=row["baseline_at"],
        until=until,
    )


def _readback(row: Table, true: Stamps) -> RecordedReadback:
    return _fill(
        RecordedReadback,
        row,
        finding=row["result"],
        at=true.of("readback", row, "at"),
        detail=_json(row["detail"]),
    )


def _act(row: Table, true: Stamps) -> AuditedAct:
    return _fill(
        AuditedAct,
        row,
        at=true.of("audit", row, "at"),
        detail=_json(row["detail"]),
        columns=dict(row),
    )


def _alert(row: Table, true: Stamps) -> RecordedAlert:
    at, cleared = true.of("alert", row, "at"), true.of_any("alert", row, "cleared_at")
    return _fill(
        RecordedAlert,
        row,
        at=at,
        cleared=cleared,
        facts=_json(row.get("facts") or "{}"),
    )


def _notice(row: Table, true: Stamps) -> RecordedNotice:
    at, ended = true.of("notice", row, "at"), true.of_any("notice", row, "ended_at")
    return _fill(
        RecordedNotice,
        row,
        at=at,
        next=true.micros(row["next_action_at"]),
        ended=ended,
        is_sent=bool(row["is_sent"]),
    )


def _message(line: int, value: Table) -> Message:
    return _fill(Message, value, line=line, at=_certain(value["at"]))


def _frozen(row: Table) -> Words:
    body = _json(row["body"])
    pictures = tuple(one["sha256"] for one in body["images"])
    parts = tuple(body.get("extra_parts", ()))
    known = {
        "marker": body["marker"]["code"],
        "title": body["title"],
        "text": body["text"],
        "body": body,
    }
    return _fill(
        Words,
        row,
        revision=row["revision_hash"],
        pictures=pictures,
        parts=parts,
        **known,
    )


def _version(row: Table, true: Stamps) -> ScheduleVersion:
    return _fill(
        ScheduleVersion,
        row,
        at=true.of("schedule", row, "accepted_at"),
        text=row["text"] or "",
    )


def _sighting(row: Table, true: Stamps) -> Sighting:
    return _fill(Sighting, row, seen=true.of("observed_post", row, "seen_at"))


def _approvable(row: Table) -> Approvable:
    people = (row["author"], row["saved_by"], row["file_owner"])
    return _fill(
        Approvable,
        row,
        label=row["occurrence"],
        renditions=json.loads(row["rendered_hashes"]),
        barred=frozenset(one for one in people if one),
    )


def _kept_since(value: Table) -> int:
    """Give the instant in the first line of a journal that was compacted; 0 for any other line."""
    return round((seconds(value.get("kept_since")) or 0.0) * MICRO)


def _intent(line: int, value: Table) -> Intent:
    key = (
        (value["post"], value["occurrence"], value["account"])
        if value.get("post")
        else None
    )
    stamp = round(_certain(value["at"]) * MICRO)
    return _fill(
        Intent, value, line=line, key=key, rendition=value["rendered_hash"], stamp=stamp
    )


def _plan(value: Table) -> ExpectedPlan:
    return ExpectedPlan(
        duties=tuple(_duty(one) for one in value.get("duties", ())),
        began=seconds(value.get("began_at")),
        faults_ended=seconds(value.get("faults_end_at")),
        ended=seconds(value.get("ended_at")),
        outages=tuple(
            _fill(Outage, one, **_span(one)) for one in value.get("outages", ())
        ),
        clocks=tuple(
            _fill(WrongClock, one, **_span(one)) for one in value.get("clocks", ())
        ),
        issues=tuple(_issue(one) for one in value.get("versions", ())),
    )


def _span(value: Table) -> dict[str, float]:
    return {"begins": _certain(value["from"]), "ends": _certain(value["to"])}


def _issue(value: Table) -> Issue:
    duties, later = (
        frozenset(map(tuple, value.get(name, ()))) for name in ("duties", "later")
    )
    return Issue(sha256=value["sha256"], duties=duties, later=later)


def _duty(value: Table) -> Duty:
    images = value.get("images")
    return _fill(
        Duty,
        value,
        due=seconds(value.get("due")),
        expires=seconds(value.get("expires")),
        ends=frozenset((value.get("end") or "").split("|")) - {""},
        says=tuple(value.get("says", ())),
        images=None if images is None else tuple(images),
    )


def _action(line: int, value: Table) -> PersonAction:
    at = _certain(value["at"])
    return _fill(
        PersonAction,
        value,
        line=line,
        at=at,
        asked=seconds(value.get("asked_at")) or at,
    )


def _interruption(value: Table) -> Interruption:
    at = _certain(value["at"])
    return _fill(Interruption, value, at=at, until=seconds(value.get("until")) or at)


def _status(value: Any) -> Sequence[Table]:
    """`publisher status --json` whole, or only its deliveries."""
    rows: Sequence[Table] = value["deliveries"] if isinstance(value, dict) else value
    return rows


def _settings(value: Table) -> RunSettings:
    platforms = value.get("platforms", {})
    accounts = {
        one["id"]: _fill(
            RecordedPolicy,
            {**platforms.get(one["platform"], {}), **one},
            account=one["id"],
        )
        for one in value.get("accounts", ())
    }
    approvers, officers = value.get("approvers"), value.get("officers")
    return _fill(
        RunSettings,
        value,
        accounts=accounts,
        hosts=frozenset(value.get("hosts", ())),
        stages={
            kind: [_fill(RequiredStage, one) for one in stages]
            for kind, stages in value.get("stages", {}).items()
        },
        approvers=approvers
        and {name: frozenset(stages) for name, stages in approvers.items()},
        officers=None if officers is None else frozenset(officers),
    )
