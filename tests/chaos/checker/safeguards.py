"""The rules beyond one delivery: I19, I23, I24, I25."""

from collections.abc import Iterator, Sequence

from .history import History, NotJudgedError, Violation


def secrets_stay_secret(history: History) -> Iterator[Violation]:
    """I19: no planted secret stands in any searched file, as itself or in a common spelling."""
    for canary, file in history.leaks:
        yield Violation(canary, "a planted secret was found", (file,))


def only_allowed_places(history: History) -> Iterator[Violation]:
    """I23: the database has its environment's stamp, and connections went to allowed hosts only."""
    wanted, stamped = (
        history.settings.environment,
        history.database_info.get("environment"),
    )
    if wanted is not None and stamped != wanted:
        yield Violation(
            "database",
            f"stamped {stamped}, run as {wanted}",
            ("database_info:environment",),
        )
    if "connections" not in history.given:
        raise NotJudgedError(
            "connections.jsonl is missing: nobody recorded where calls went"
        )
    for line, connection in enumerate(history.connections, 1):
        if connection["host"] not in history.settings.hosts:
            yield Violation(
                connection["host"],
                "a place that is not allowed",
                (f"connections:{line}",),
            )


def bounded(history: History) -> Iterator[Violation]:
    """I24: nothing that was measured went over its bound."""
    if not history.settings.bounds:
        raise NotJudgedError("settings.json names no bounds")
    for name, most in history.settings.bounds.items():
        over = [
            (line, point[name])
            for line, point in enumerate(history.metrics, 1)
            if point.get(name, 0) > most
        ]
        if not any(name in point for point in history.metrics):
            raise NotJudgedError(f"metrics.jsonl does not measure {name}")
        if over:
            line, value = over[0]
            yield Violation(name, f"{value}, more than {most}", (f"metrics:{line}",))


def replayable(history: History) -> Iterator[Violation]:
    """I25: a second run under the same seed did the same things in the same order."""
    if history.replay is None:
        raise NotJudgedError("there is no second run in replay/")
    for what, mine, theirs in (
        ("log", _deeds(history), _deeds(history.replay)),
        ("audit", _steps(history), _steps(history.replay)),
    ):
        if mine != theirs:
            place = next(
                (
                    n
                    for n, pair in enumerate(zip(mine, theirs, strict=False), 1)
                    if pair[0] != pair[1]
                ),
                None,
            )
            line = place or min(len(mine), len(theirs)) + 1
            yield Violation(
                "replay", f"the {what}s part at line {line}", (f"{what}:{line}",)
            )


def _deeds(history: History) -> Sequence[tuple[str, ...]]:
    return [
        (entry.kind, entry.platform, entry.account, entry.endpoint or "")
        for entry in history.log
    ]


def _steps(history: History) -> Sequence[tuple[str, ...]]:
    return [
        (act.subject, act.event, act.before or "", act.after or "")
        for act in history.audit
    ]
