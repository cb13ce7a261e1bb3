"""The artefacts of a run, in the form of docs/checker.md, and the checker's findings."""

import hashlib
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from publisher.domain.approval import PRESET_CHAINS, ApprovalPreset
from tests.chaos.artefacts import settings_of
from tests.chaos.checker.artefacts import Artefacts, rows_of_file, whole_lines
from tests.chaos.checker.decoder import history_of
from tests.chaos.checker.verdict import judge_history
from tests.simulation.platforms import EPOCH
from tests.simulation.simulation import APPROVERS, Simulation
from tests.simulation.workspace import AUTHOR, GROUP

NOT_RECORDED = frozenset({"I19", "I20", "I23", "I24", "I25"})
"""Promises that a run has no data about; all others must be judged."""
CLOCK_ERROR = 2.0
"""Maximum error in seconds of a clock that counts as right."""
RECOVERY = 900.0
"""Maximum seconds from an outage to a new try of each due post."""
LONGEST_READ = 60.0
UNITS = {"s": 1, "m": 60, "h": 3600}
USUAL_DELAY = "6h"
PLANNED_AHEAD = 2 * 86400.0
"""Seconds ahead of the file's time; a post due before then is filed at once."""
Row = Mapping[str, Any]


def violations(simulation: Simulation) -> list[str]:
    """Return all violations, each with the number of the broken promise."""
    found = [
        *simulation.broken_promises,
        *(f"run: {error}" for error in simulation.errors),
    ]
    for finding in judge_history(history_of(artefacts_of(simulation))).findings:
        is_asked = finding.invariant.id != "I5" or simulation.shape.needs_approval
        if finding.why_not and is_asked and finding.invariant.id not in NOT_RECORDED:
            found.append(
                f"run: {finding.invariant.id} was not judged: {finding.why_not}"
            )
        found += [
            f"{finding.invariant.id}: {violation}" for violation in finding.violations
        ]
    return found


def artefacts_of(simulation: Simulation) -> Artefacts:
    """Return the checker's input, as far as a simulated run has it."""
    rows = {**rows_of_file(simulation.workspace.database)}
    rows["schedule"] = [
        {**row, "text": row["text"] or simulation.old_versions[row["id"]]}
        for row in rows["schedule"]
    ]
    texts = [
        (text, posts)
        for text in simulation.workspace.texts
        if (posts := _posts_of(text))
    ]
    return Artefacts(
        lists={
            "log": [
                line for line in simulation.log if line["t"] >= simulation.began_at
            ],
            "actions": simulation.commands,
            "interruptions": simulation.interruptions,
            **(
                {"messages": simulation.channels.messages}
                if simulation.shape.notifies
                else {}
            ),
        },
        documents={
            "posts": simulation.platforms.posts(),
            "settings": _settings(simulation),
            "plan": {
                "began_at": simulation.began_at,
                "faults_end_at": simulation.calm_since,
                "ended_at": simulation.now,
                "outages": simulation.outages,
                "duties": list(
                    _duties(
                        simulation, [posts for _text, posts in texts], rows["delivery"]
                    )
                ),
                "versions": [
                    _version(simulation, text, posts) for text, posts in texts
                ],
            },
            "instants": _instants(simulation, rows),
            "earlier": [dict(row) for row in simulation.remembered],
        },
        rows=rows,
        journals=[[*whole_lines(simulation.workspace.journal)]],
    )


def _posts_of(text: str) -> Sequence[Row]:
    """Return the posts of a schedule; none of half a file."""
    try:
        posts: Sequence[Row] = tomllib.loads(text)["post"]
    except (tomllib.TOMLDecodeError, KeyError):
        return ()
    if not all("to" in post for post in posts):
        return ()
    return [member for post in posts for member in _members_of(post)]


def _members_of(post: Row) -> Sequence[Row]:
    """Return a post, or the one of its only region where that has words of its own."""
    return [
        {**post, **words, "id": f"{post['id']}.{code}"}
        for code, words in post.get("region", {}).items()
    ] or [post]


def _accounts_of(simulation: Simulation, post: Row) -> Sequence[str]:
    """Return the accounts that a post names; for GROUP its largest set of accounts."""
    named: Sequence[str] = post["to"]
    return (
        simulation.workspace.every[_written_id(post["id"])].accounts
        if named == [GROUP]
        else named
    )


def _written_id(post: str) -> str:
    return post.partition(".")[0]


def _version(simulation: Simulation, text: str, posts: Sequence[Row]) -> Row:
    duties, later = list[list[str]](), list[list[str]]()
    for post in (post for post in posts if "at" in post):
        is_open = (
            post["to"] == [GROUP]
            or post["at"].timestamp() > EPOCH + PLANNED_AHEAD
            or _written_id(post["id"]) in simulation.workspace.reshaped
        )
        (later if is_open else duties).extend(
            [post["id"], "once", account] for account in _accounts_of(simulation, post)
        )
    return {
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
        "duties": duties,
        "later": later,
    }


def _settings(simulation: Simulation) -> Row:
    settings = tomllib.loads(
        (simulation.workspace.folder / "publisher.toml").read_text("utf-8")
    )
    stages: dict[str, Any] = {}
    if simulation.shape.needs_approval:
        chain = [
            {"name": stage.name, "people": stage.people}
            for stage in PRESET_CHAINS[ApprovalPreset.TWO_PERSONS]
        ]
        stages = {
            "stages": {"default": chain},
            "approvers": {name: [] for name in (*APPROVERS, "chen")},
        }
    more = {
        "clock_error": CLOCK_ERROR,
        "rest_within": 0,
        "recover_within": RECOVERY,
        "together": simulation.batch_size,
    }
    return {**settings_of(settings), **more, **stages}


def _duties(
    simulation: Simulation, texts: Sequence[Sequence[Row]], deliveries: Sequence[Row]
) -> Iterator[Row]:
    """Yield the filed deliveries of all schedules.

    Each accepted version is judged by itself.
    """
    filed = {(row["post"], row["account"]) for row in deliveries}
    entries: dict[tuple[str, str], list[Row]] = defaultdict(list)
    workspace = simulation.workspace
    for post in (post for posts in texts for post in posts):
        for account in _accounts_of(simulation, post):
            entries[post["id"], account].append(post)
    stopped = {
        command["post"]
        for command in simulation.commands
        if command["kind"] in {"cancel", "retract"}
    }
    for (post, account), named in (
        (key, named) for key, named in entries.items() if key in filed
    ):
        is_tight = any(
            "expires" in one or one["max_delay"] != USUAL_DELAY for one in named
        )
        is_touched = bool({post, _written_id(post)} & (stopped | workspace.edited))
        end = None if is_touched else "published|expired" if is_tight else "published"
        yield {
            "post": post,
            "account": account,
            "end": end,
            "author": AUTHOR,
            **_window(named),
        }


def _window(entries: Sequence[Row]) -> Row:
    """Return the time for a post by any of the versions that named it, or its interval."""
    if "cron" in entries[-1]:
        return {
            "occurrence": "*",
            "every": 60 * int(entries[-1]["cron"].split()[0].removeprefix("*/")),
        }
    dues = [one["at"].timestamp() for one in entries]
    expires = [
        one["expires"].timestamp() if "expires" in one else None for one in entries
    ]
    delays = [
        int(one["max_delay"][:-1]) * UNITS[one["max_delay"][-1]] for one in entries
    ]
    return {
        "occurrence": "once",
        "due": min(dues),
        "expires": None
        if None in expires
        else max(at for at in expires if at is not None),
        "max_delay": max(delays) + max(dues) - min(dues),
    }


def _instants(
    simulation: Simulation, rows: Mapping[str, Sequence[Row]]
) -> Mapping[str, Mapping[str, Row]]:
    """Return the true instants.

    For a readback this is its start, by the clock of then, unless the clock was set since.
    """
    known = dict(simulation.true_time.instants)
    began = {}
    for row in rows["readback"]:
        stored = known["readback"][str(row["id"])]["at"]
        asked = row["at"] / 1e6 - simulation.ahead_at(stored)
        began[str(row["id"])] = {
            "at": asked if stored - LONGEST_READ < asked < stored else stored
        }
    return {**known, "readback": began}
