"""The artefacts of a campaign for an independent judge, in the form of docs/checker.md."""

import hashlib
import json
import re
import shutil
import sqlite3
import time
import tomllib
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.chaos.checker.artefacts import Rows, rows_of_server
from tests.chaos.faults import RETRY_AFTER
from tests.chaos.people import APPROVERS, PASSWORD, REWRITER, STAGES
from tests.chaos.store_reader import ACCEPTED
from tests.chaos.workspace import (
    AUTHOR,
    CANARY,
    MINUTELY,
    MINUTELY_LATE,
    REPEATING,
    TIGHT_EXPIRES,
)

if TYPE_CHECKING:
    from tests.chaos.campaign import Campaign

REST_WITHIN = 60.0
"""Seconds without a step until a delivery counts as stuck. A campaign waits longer for any step."""
LASTS = timedelta(days=1)
"""How long a post holds true that says nothing else."""
RSS, RSS_EACH = 250e6, 2e3
"""Most bytes in a daemon, and more for each delivery, as the schedule is read whole."""
HANDLES, HANDLES_EACH = 60, 2
"""Files that a daemon may have open at most, and more for each account: a call and a read."""
DUMP = "server.dump"
WATCH_EVERY = 7200.0
"""Seconds from one look at an account to the next, where they are farthest apart."""
PLAN_DAYS = 2
LISTED = {"weibo": 5, "wechat": 20, "tieba": 20}
LISTED_OF_MANY = 100
"""Posts that a look at an account shows at most; of a business on Weibo more than of others."""
RESENDS = {"weibo": True, "wechat": "urgent", "tieba": False}
UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def save(folder: Path, campaign: "Campaign") -> None:
    """Write everything that the checker asks for and a campaign knows."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = tomllib.loads(
        (campaign.workspace.folder / "publisher.toml").read_text("utf-8")
    )
    _write_array(folder / "posts.json", campaign.platforms.posts())
    _write(folder / "status.json", campaign.publisher.status())
    _write(
        folder / "settings.json",
        {
            **settings_of(settings),
            "rest_within": REST_WITHIN,
            "recover_within": 0,
            "retry_after": RETRY_AFTER,
            "bounds": {
                "rss": RSS + RSS_EACH * campaign.options.deliveries,
                "handles": HANDLES + HANDLES_EACH * len(settings["account"]),
            },
            **_approvals(campaign),
        },
    )
    _write(folder / "plan.json", _plan(campaign))
    _write_lines(folder / "log.jsonl", campaign.platforms.log())
    actions = sorted(
        (action for one in campaign.publishers for action in one.actions),
        key=lambda action: action["at"],
    )
    _write_lines(folder / "actions.jsonl", actions)
    interruptions = [one for each in campaign.publishers for one in each.interruptions]
    _write_lines(folder / "interruptions.jsonl", interruptions)
    if campaign.receiver is not None:
        _write_lines(folder / "messages.jsonl", campaign.receiver.log)
    _write_lines(
        folder / "metrics.jsonl",
        [measured for one in campaign.publishers for measured in one.measured],
    )
    database = campaign.publisher.database
    if database:
        write_rows(folder / "publisher.db", rows_of_server(database))
        _dump(database, folder / DUMP)
    else:
        _copy_database(
            campaign.workspace.folder / "var" / "publisher.db", folder / "publisher.db"
        )
    _keep_files(folder, campaign)


def _approvals(campaign: "Campaign") -> dict[str, Any]:
    """Return the stages that every post must pass, and the people that may approve."""
    if not campaign.options.approvals:
        return {}
    return {
        "stages": STAGES,
        "approvers": {name: [] for name in (*APPROVERS, REWRITER)},
    }


def _dump(url: str, file: Path) -> None:
    """Write every table of a server to a file unchanged.

    Secrets are then searched for even where nobody else reads.
    """
    import psycopg  # noqa: PLC0415 # needed for this kind of database only
    from psycopg.sql import SQL, Identifier  # noqa: PLC0415 # same

    with psycopg.connect(url) as connection, file.open("wb") as to:
        found = connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        ).fetchall()
        for (table,) in found:
            with connection.cursor().copy(
                SQL("COPY {} TO STDOUT").format(Identifier(table))
            ) as rows:
                to.writelines(rows)


def _copy_database(file: Path, copy: Path) -> None:
    with (
        closing(sqlite3.connect(file)) as source,
        closing(sqlite3.connect(copy)) as target,
    ):
        source.backup(target)


def _write_array(file: Path, values: Iterable[Any]) -> None:
    with file.open("w", encoding="utf-8") as to:
        for number, value in enumerate(values):
            to.write((",\n" if number else "[") + json.dumps(value, ensure_ascii=False))
        to.write("]" if to.tell() else "[]")


def _write(file: Path, value: object) -> None:
    file.write_text(json.dumps(value, ensure_ascii=False, indent=1), "utf-8")


def _write_lines(file: Path, lines: Iterable[Any]) -> None:
    with file.open("w", encoding="utf-8") as to:
        to.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def settings_of(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the values of publisher.toml that the checker needs."""
    limits = {
        name: {key: _seconds(value) for key, value in table.items()}
        for name, table in settings["limits"].items()
    }
    wanted = ("visibility_window", "min_interval", "per_hour", "per_day")
    return {
        "environment": settings["environment"],
        "hosts": ["127.0.0.1"],
        "platforms": {
            name: {
                **{key: table[key] for key in wanted},
                "review": table.get("review_window", 0),
                "may_resend": RESENDS[name],
                "watch_every": WATCH_EVERY,
                "listed": LISTED[name],
            }
            for name, table in limits.items()
        },
        "accounts": [
            {
                **{key: account[key] for key in ("id", "platform", "identity")},
                "login": f"{account['platform']}/{account['secret']}",
                **(
                    {"listed": LISTED_OF_MANY}
                    if account.get("profile") == "biz"
                    else {}
                ),
            }
            for account in settings["account"]
        ],
    }


def _seconds(value: str | int) -> float:
    """Give a duration in seconds; a number is no duration, and stays as it is."""
    number = re.fullmatch(r"([\d.]+)([smh])", str(value))
    return float(number[1]) * UNITS[number[2]] if number else int(value)


def _plan(campaign: "Campaign") -> dict[str, Any]:
    now = time.time()
    written = campaign.workspace.written
    accepted = {text for (text,) in campaign.publisher.store.rows(ACCEPTED)}
    versions = (
        version for version in campaign.workspace.versions if version.text in accepted
    )
    shifts = sorted(
        {one.repeating_shift for one in versions if one.repeating_shift is not None}
    )
    repeating = [one for shift in shifts for one in _repeating(campaign, shift)]
    minutely = list(_minutely(campaign))
    return {
        "began_at": now - campaign.seconds,
        "faults_end_at": campaign.calm_since or now,
        "ended_at": now,
        "outages": [
            {"scope": "all", "from": begins, "to": ends}
            for begins, ends in campaign.outages
        ],
        "clocks": [
            {"from": one.begins, "to": one.ends, "ahead": one.ahead}
            for one in campaign.clocks
        ],
        "duties": [
            *(
                _duty(campaign, entry, account)
                for entry in written
                for account in (*entry.accounts, *entry.left_out)
            ),
            *(
                {"post": post, "occurrence": instant, "account": account}
                for post, instant, account in repeating
            ),
            *(
                _minutely_duty(campaign, instant, account)
                for _post, instant, account in minutely
            ),
        ],
        "versions": [
            {
                "sha256": hashlib.sha256(version.text.encode()).hexdigest(),
                "duties": [
                    *([post, "once", account] for post, account in version.duties),
                    *_repeating(campaign, version.repeating_shift),
                    *(minutely if version.is_minutely else ()),
                ],
            }
            for version in campaign.workspace.versions
        ],
    }


def _repeating(
    campaign: "Campaign", shift: int | None = 0
) -> Iterator[tuple[str, str, str]]:
    """Yield the planned instants of the repeating post: the next two days, moved by `shift` hours."""
    workspace = campaign.workspace
    for account in workspace.repeating_accounts if shift is not None else ():
        for day in range(PLAN_DAYS):
            yield (
                REPEATING,
                (
                    workspace.repeats_at + timedelta(days=day, hours=shift or 0)
                ).isoformat(),
                account,
            )


def _minutely(campaign: "Campaign") -> Iterator[tuple[str, str, str]]:
    """Yield the planned instants of the post that repeats each minute."""
    workspace = campaign.workspace
    first, last = workspace.minutes or (None, None)
    while first and last and first <= last:
        yield from (
            (MINUTELY, first.isoformat(), account)
            for account in workspace.repeating_accounts
        )
        first += timedelta(minutes=1)


def _minutely_duty(campaign: "Campaign", instant: str, account: str) -> dict[str, Any]:
    """The outage covers all instants; of these the last one is wanted."""
    last = (
        campaign.workspace.minutes[1].isoformat() if campaign.workspace.minutes else ""
    )
    end = "published" if instant == last else "expired"
    known = {
        "post": MINUTELY,
        "occurrence": instant,
        "account": account,
        "due": instant,
        "end": end,
    }
    return {**known, "max_delay": MINUTELY_LATE}


def _duty(campaign: "Campaign", entry: Any, account: str) -> dict[str, Any]:
    due = entry.due.astimezone(UTC).replace(microsecond=0)
    post = entry.id_for(campaign.workspace.accounts[account])
    wanted = campaign.wanted[post, account]
    return {
        "post": post,
        "occurrence": "once",
        "account": account,
        "due": due.isoformat(),
        "expires": (due + (TIGHT_EXPIRES if entry.tight else LASTS)).isoformat(),
        "max_delay": entry.most_late,
        "end": wanted,
        "author": AUTHOR,
        "says": entry.says(campaign.workspace.accounts[account]),
        "images": [picture]
        if (picture := campaign.workspace.pictures.get(entry.id))
        else None,
    }


def action(
    kind: str, asked: float, *, by: str = "wang", **target: str
) -> dict[str, str]:
    """Return an action that a person has just given, with the start time of the command."""
    return {
        "kind": kind,
        "asked_at": _iso(asked),
        "at": _iso(time.time()),
        "by": by,
        **target,
    }


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()


def write_rows(file: Path, found: Rows) -> None:
    """Copy the tables for the checker from any kind of database. Its server may be gone by then."""
    file.unlink(missing_ok=True)
    with closing(sqlite3.connect(file)) as connection, connection:
        for table, rows in found.items():
            if rows:
                names = ", ".join(f'"{name}"' for name in rows[0])
                places = ", ".join("?" for _ in rows[0])
                connection.execute(f'CREATE TABLE "{table}" ({names})')
                values = [tuple(row.values()) for row in rows]
                connection.executemany(
                    f'INSERT INTO "{table}" VALUES ({places})',  # noqa: S608 # as read
                    values,
                )


def _keep_files(folder: Path, campaign: "Campaign") -> None:
    """Keep the files of the daemons. None may hold the accounts' secret, after any death."""
    secrets = [
        CANARY,
        *campaign.publisher.tokens.values(),
        *([PASSWORD] if campaign.publisher.tokens else []),
    ]
    lines = [*(f"canary: {secret}" for secret in secrets), "path: publisher.db"]
    if (folder / DUMP).exists():
        lines.append(f"path: {DUMP}")
    for worker in campaign.workspace.folders:
        kept = folder / worker.name
        shutil.copytree(worker / "var", kept / "var", dirs_exist_ok=True)
        shutil.copy(worker / "daemon.log", kept)
        for name in ("intents.jsonl", "audit-anchors.log"):
            if (file := worker / "var" / name).exists():
                shutil.copy(file, folder / f"{file.stem}-{worker.name}{file.suffix}")
        lines.append(f"path: {worker.name}")
    (folder / "canaries.txt").write_text("\n".join(lines) + "\n", "utf-8")
