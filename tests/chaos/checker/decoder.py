"""What was read -> a History."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from .artefacts import Artefacts
from .history import (
    MICRO,
    Act,
    Alert,
    Approval,
    Attempt,
    Copy,
    Delivery,
    Duty,
    Earlier,
    Entry,
    History,
    Intent,
    Interruption,
    Issue,
    Look,
    Order,
    Outage,
    Plan,
    Settings,
    Sighting,
    Stamps,
    Terms,
    Version,
    Words,
    WrongClock,
)

Table = Mapping[str, Any]


def history_of(found: Artefacts) -> History:
    """Give the run behind the artefacts. Raises ValueError when one has not the shape that it should have."""
    try:
        return History(given=_given(found), **_platforms(found), **_books(found), **_words(found))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"an artefact has not the shape that docs/checker.md names: {error!r}") from error


def _given(found: Artefacts) -> frozenset[str]:
    more = {"database": found.rows, "journal": found.journal, "canaries": found.leaks, "replay": found.replay}
    return frozenset({*found.lists, *found.documents, *(name for name, value in more.items() if value is not None)})


def _platforms(found: Artefacts) -> dict[str, Any]:
    return {
        "log": [_entry(line) for line in found.lists.get("log", ())],
        "copies": {line["id"]: _copy(line) for line in found.documents.get("posts", ())},
    }


def _books(found: Artefacts) -> dict[str, Any]:
    rows = found.rows or {}
    true = Stamps(_plan(found.documents.get("plan", {})).clocks, found.documents.get("instants", {}))
    earlier = _earlier(found.documents.get("earlier", ()), rows)
    past = {one.id for one in earlier}
    of_past = [row for row in (*rows.get("delivery", ()), *rows.get("attempt", ())) if _delivery_id(row) in past]
    past_words = {row["rendered_hash"] for row in of_past}
    return {
        "earlier": earlier,
        "deliveries": {row["id"]: _delivery(row, true) for row in rows.get("delivery", ()) if row["id"] not in past},
        "attempts": [_attempt(row, true) for row in rows.get("attempt", ()) if row["delivery"] not in past],
        "looks": [_look(row, true) for row in rows.get("readback", ()) if row["delivery"] not in past],
        "audit": [_act(row, true) for row in rows.get("audit", ())],
        "alerts": [_alert(row, true) for row in rows.get("alert", ())],
        "words": {
            row["fingerprint"]: _frozen(row)
            for row in rows.get("rendered_post", ())
            if row["fingerprint"] not in past_words
        },
        "versions": [_version(row, true) for row in rows.get("schedule", ())],
        "media": {row["sha256"]: hashlib.sha256(row["data"]).hexdigest() for row in rows.get("media", ())},
        "sightings": [_sighting(row, true) for row in rows.get("observed_post", ())],
        "database_info": {row["key"]: row["value"] for row in rows.get("database_info", ())},
        "journal": [
            _intent(line, value) for line, value in found.journal or () if value.get("delivery") not in {None, *past}
        ],
        "true": true,
    }


def _earlier(known: Sequence[Table], rows: Mapping[str, Sequence[Table]]) -> Sequence[Earlier]:
    now = {row["id"]: row for row in rows.get("delivery", ())} if known else {}
    return [
        Earlier(id=one["id"], before=one, after={name: now.get(one["id"], {}).get(name) for name in one})
        for one in known
    ]


def _delivery_id(row: Table) -> int:
    """Give the delivery of a row of the deliveries or of the attempts."""
    number: int = row.get("delivery", row["id"])
    return number


def _words(found: Artefacts) -> dict[str, Any]:
    """What the makers of the run say about it."""
    lists, documents = found.lists, found.documents
    return {
        "plan": _plan(documents.get("plan", {})),
        "settings": _settings(documents.get("settings", {})),
        "status": _status(documents.get("status", ())),
        "orders": [_order(line, value) for line, value in enumerate(lists.get("orders", ()), 1)],
        "interruptions": [
            Interruption(at=_certain(one["at"]), until=_certain(one.get("until") or one["at"]), kind=one["kind"])
            for one in lists.get("interruptions", ())
        ],
        "approvals": [_approval(value) for value in lists.get("approvals", ())],
        **{name: lists.get(name, ()) for name in ("timings", "metrics", "connections", "anchors")},
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
    """Give the platform's own name of a post: what was mass-sent has the job's number beside the page's."""
    return remote_id.split("-")[1] if remote_id and remote_id.startswith("mass-") else remote_id


def instant_of(label: str) -> str:
    """The same instant has one spelling; what is no instant stays what it is."""
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


def _entry(line: Table) -> Entry:
    return Entry(
        seq=line["seq"],
        at=line["t"],
        began=line.get("began") or line["t"],
        kind=line["kind"],
        platform=line["platform"] or "",
        account=line["account"] or "",
        endpoint=line.get("endpoint"),
        post_id=line.get("post_id"),
        status=line.get("status"),
        fault=line.get("fault"),
        call=line.get("call"),
    )


def _copy(line: Table) -> Copy:
    extra = line.get("extra") or {}
    return Copy(
        id=line["id"],
        platform=line["platform"],
        account=line["account"],
        created=_certain(line["created"]),
        text=line.get("text") or "",
        title=line.get("title") or "",
        html=line.get("html") or "",
        images=tuple(line.get("images") or ()),
        is_removed=bool(line.get("removed")),
        is_visible=bool(line.get("visible")),
        thread=extra.get("thread"),
        is_rewritten=bool(extra.get("rewritten")),
    )


def _delivery(row: Table, true: Stamps) -> Delivery:
    plain = ("id", "post", "account", "platform", "login", "state", "version", "follows", "reason", "attempts")
    return Delivery(
        **{name: row[name] for name in plain},
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
        is_manually_confirmed=bool(row["is_manually_confirmed"]),
        is_urgent=bool(row.get("is_urgent")),
    )


def _attempt(row: Table, true: Stamps) -> Attempt:
    plain = ("id", "delivery", "number", "fencing_token", "login", "account", "outcome")
    intended, ended, detail = (
        true.of("attempt", row, "intended_at"),
        true.of_any("attempt", row, "ended_at"),
        _json(row["detail"]),
    )
    until = seconds(detail.get("until")) if row["outcome"] == "rate_limited" else None
    if until is not None:  # it was written by the clock that ended the attempt
        until = true(until) if ended is None or not true.instants else ended + until - _instant(row["ended_at"])
    return Attempt(
        **{name: row[name] for name in plain},
        rendition=row["rendered_hash"],
        since=intended - _instant(row["intended_at"] - row["baseline_at"]),
        intended=intended,
        ended=ended,
        detail=detail,
        stamp=row["intended_at"],
        baseline=row["baseline_at"],
        until=until,
        part=row.get("part", 0),
    )


def _look(row: Table, true: Stamps) -> Look:
    plain = {name: row[name] for name in ("id", "delivery", "attempt")}
    return Look(**plain, finding=row["result"], at=true.of("readback", row, "at"), detail=_json(row["detail"]))


def _act(row: Table, true: Stamps) -> Act:
    plain = {name: row[name] for name in ("id", "role", "name", "event", "subject", "before", "after")}
    return Act(**plain, at=true.of("audit", row, "at"), detail=_json(row["detail"]), columns=dict(row))


def _alert(row: Table, true: Stamps) -> Alert:
    plain = {name: row[name] for name in ("id", "code", "subject")}
    at, cleared = true.of("alert", row, "at"), true.of_any("alert", row, "cleared_at")
    return Alert(**plain, at=at, cleared=cleared)


def _frozen(row: Table) -> Words:
    body = _json(row["body"])
    return Words(
        fingerprint=row["fingerprint"],
        revision=row["revision_hash"],
        account=row["account"],
        marker=body["marker"]["code"],
        title=body["title"],
        text=body["text"],
        pictures=tuple(picture["sha256"] for picture in body["images"]),
        parts=tuple(body.get("extra_parts", ())),
        body=body,
    )


def _version(row: Table, true: Stamps) -> Version:
    at = true.of("schedule", row, "accepted_at")
    return Version(id=row["id"], at=at, sha256=row["sha256"], text=row["text"] or "")


def _sighting(row: Table, true: Stamps) -> Sighting:
    return Sighting(
        account=row["account"],
        remote_id=row["remote_id"],
        seen=true.of("observed_post", row, "seen_at"),
        predates_monitoring=bool(row["predates_monitoring"]),
    )


def _intent(line: int, value: Table) -> Intent:
    key = (value["post"], value["occurrence"], value["account"]) if value.get("post") else None
    plain = {name: value[name] for name in ("delivery", "attempt", "fencing_token")}
    return Intent(
        line=line,
        key=key,
        rendition=value["rendered_hash"],
        stamp=round(_certain(value["at"]) * MICRO),
        part=value.get("part", 0),
        **plain,
    )


def _plan(value: Table) -> Plan:
    outages = [
        Outage(scope=one["scope"], begins=_certain(one["from"]), ends=_certain(one["to"]))
        for one in value.get("outages", ())
    ]
    clocks = [
        WrongClock(begins=_certain(one["from"]), ends=_certain(one["to"]), ahead=one["ahead"])
        for one in value.get("clocks", ())
    ]
    issues = [
        Issue(
            sha256=one["sha256"],
            duties=frozenset(map(tuple, one["duties"])),
            later=frozenset(map(tuple, one.get("later", ()))),
        )
        for one in value.get("versions", ())
    ]
    return Plan(
        duties=tuple(_duty(one) for one in value.get("duties", ())),
        began=seconds(value.get("began_at")),
        faults_ended=seconds(value.get("faults_end_at")),
        ended=seconds(value.get("ended_at")),
        outages=tuple(outages),
        clocks=tuple(clocks),
        issues=tuple(issues),
    )


def _duty(value: Table) -> Duty:
    images = value.get("images")
    return Duty(
        post=value["post"],
        occurrence=value["occurrence"],
        account=value["account"],
        due=seconds(value.get("due")),
        expires=seconds(value.get("expires")),
        max_delay=value.get("max_delay"),
        ends=frozenset((value.get("end") or "").split("|")) - {""},
        every=value.get("every"),
        text_sha256=value.get("text_sha256"),
        says=tuple(value.get("says", ())),
        images=None if images is None else tuple(images),
        author=value.get("author"),
        approvals=value.get("approvals", 0),
    )


def _order(line: int, value: Table) -> Order:
    at = _certain(value["at"])
    return Order(
        line=line,
        kind=value["kind"],
        asked=seconds(value.get("asked_at")) or at,
        at=at,
        **{name: value.get(name) for name in ("scope", "post", "account")},
        by=value["by"],
    )


def _approval(value: Table) -> Approval:
    return Approval(
        rendition=value["rendition"], by=value["by"], at=_certain(value["at"]), ended=seconds(value.get("ended_at"))
    )


def _status(value: Any) -> Sequence[Table]:
    """`publisher status --json` whole, or only its deliveries."""
    rows: Sequence[Table] = value["deliveries"] if isinstance(value, dict) else value
    return rows


_MEASURES = ("tolerance", "clock_error", "retry_after", "together", "rest_within", "recover_within", "bounds")


def _settings(value: Table) -> Settings:
    platforms = value.get("platforms", {})
    accounts = [_terms(one, platforms.get(one["platform"], {})) for one in value.get("accounts", ())]
    return Settings(
        accounts={terms.account: terms for terms in accounts},
        environment=value.get("environment"),
        hosts=frozenset(value.get("hosts", ())),
        **{name: value[name] for name in _MEASURES if name in value},
    )


def _terms(value: Table, platform: Table) -> Terms:
    return Terms(
        account=value["id"],
        platform=value["platform"],
        identity=value["identity"],
        login=value["login"],
        **{name: value.get(name, platform.get(name)) for name in ("gap", "per_hour", "per_day", "settle")},
        may_resend=value.get("may_resend", platform.get("may_resend", True)),
        watch_every=value.get("watch_every", platform.get("watch_every")),
    )
