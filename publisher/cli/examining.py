"""`doctor`: every login asked right now, and where to act."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import click

from publisher.cli.accounting import days_left, health_words
from publisher.cli.checking import as_facts
from publisher.cli.narrating import NOT_TOLD, Narrator
from publisher.cli.shape import PersonName, WordedUsageError, command, json_option
from publisher.cli.terminal import Terminal, echo
from publisher.cli.trouble import told
from publisher.cli.widths import in_columns
from publisher.cli.workplace import books_of, database_trouble, settings_of
from publisher.domain.account import Account, Mode
from publisher.domain.outcome import Blocked, CredentialExpired, Health, RateLimited, Ready, Unknown, code_of
from publisher.guard import guarded
from publisher.reviewing import person
from publisher.settings import Settings
from publisher.store.board import Pause
from publisher.store.checkups import WARNINGS, Checkup
from publisher.store.orders import Orders
from publisher.wiring.application import open_application
from publisher.wiring.permissions import loose_files
from publisher.world import World

PATIENCE = timedelta(seconds=30)
AT_ONCE = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What one login answered just now, the account it was asked by, and the pauses that stop its accounts."""

    checkup: Checkup
    health: Health
    pauses: Sequence[Pause]

    @property
    def account(self) -> Account:
        return self.checkup.account

    @property
    def is_well(self) -> bool:
        return isinstance(self.health, Ready) and self.checkup.quota_left > 0 and not self.pauses


@command("doctor")
@click.option("--confirm-clock", is_flag=True, help="opt_confirm_clock")
@click.option("--by", metavar="NAME", type=PersonName(), help="opt_by")
@json_option
def doctor(terminal: Terminal, *, confirm_clock: bool, by: str | None, as_json: bool) -> int:
    if confirm_clock is not (by is not None):
        raise WordedUsageError("confirm_wants_by")
    if by is not None:
        asyncio.run(_confirm_clock(terminal, by))
        return 0
    world = World()
    settings, found = asyncio.run(_examine(terminal, world))
    narrator = Narrator(messages=terminal.messages, timezone=settings.timezone)
    now = datetime.now(settings.timezone)
    loose = loose_files(settings)
    is_clock_right, apart = world.is_clock_confirmed(), world.apart
    if as_json:
        seconds = apart.total_seconds() if apart is not None else None
        clock = {"confirmed": is_clock_right, "apart": seconds}
        files = [as_facts(problem, terminal.messages) for problem in loose]
        logins = [_as_document(one, narrator, now) for one in found]
        terminal.show({"logins": logins, "clock": clock, "files": files})
    else:
        _print(terminal, found, narrator, now)
        _print_clock(terminal, apart, is_right=is_clock_right)
        if loose:
            echo(told(loose, terminal.messages))
    is_tight = not any(problem.is_error for problem in loose)
    return int(not (is_tight and is_clock_right and all(one.is_well for one in found)))


async def _confirm_clock(terminal: Terminal, by: str) -> None:
    settings = await settings_of(terminal)
    async with books_of(settings) as books:
        reading = await Orders(books).confirm_clock(person(by))
    narrator = Narrator(messages=terminal.messages, timezone=settings.timezone)
    terminal.say("clock_confirmed_done", by=by, at=narrator.time(reading.at))


async def _examine(terminal: Terminal, world: World) -> tuple[Settings, Sequence[Examination]]:
    """Probe every login that need not rest, a few at a time, and write down what each said.

    The clock is confirmed on the way.
    """
    settings = await settings_of(terminal)
    with database_trouble():
        async with open_application(settings, world, sends=False, asks=True) as application:
            world.ask_kernel()
            if (reading := await application.orders.clock_reading()) is not None:
                world.confirm_clock(reading)
            checkups = [one for one in await application.checkups.all() if one.mode is Mode.API]
            speakers = {checkup.account.login: checkup for checkup in checkups}
            pauses = await application.board.pauses()
            gate = asyncio.Semaphore(AT_ONCE)

            async def examine(checkup: Checkup) -> Examination:
                login = checkup.account.login
                scopes = {f"account:{other.account.id}" for other in checkups if other.account.login == login}
                health: Health = RateLimited(code="rate_limited", until=checkup.rests_until)
                if checkup.rests_until is None:
                    async with gate:
                        health = await guarded(application.adapters[checkup.account.id].probe(), PATIENCE)
                        await application.checkups.write(checkup.account, health)
                stopped = [pause for pause in pauses if pause.scope in scopes]
                return Examination(checkup=checkup, health=health, pauses=stopped)

            return settings, await asyncio.gather(*map(examine, speakers.values()))


def _as_document(one: Examination, narrator: Narrator, now: datetime) -> dict[str, Any]:
    return {
        "account": one.account.id,
        "platform": one.account.platform,
        "health": code_of(one.health),
        "message": health_words(one.health, narrator),
        "days_left": days_left(one.health, now),
        "quota_left": one.checkup.quota_left,
        "to_do": list(_to_do(one, narrator, now)),
    }


def _print(terminal: Terminal, found: Sequence[Examination], narrator: Narrator, now: datetime) -> None:
    names = ("account", "platform", "health", "days_left", "quota_left")
    rows = [tuple(terminal.words(f"column_{name}") for name in names)]
    for one in found:
        left = days_left(one.health, now)
        platform = narrator.platform(one.account.platform)
        health = terminal.words("doctor_ready") if isinstance(one.health, Ready) else health_words(one.health, narrator)
        days = NOT_TOLD if left is None else terminal.words("days", days=left)
        rows.append((one.account.id, platform, health, days, str(one.checkup.quota_left)))
    if found:
        echo("\n".join(in_columns(rows)))
    for one in found:
        steps = list(_to_do(one, narrator, now))
        if steps:
            terminal.say("doctor_line", account=one.account.id, platform=narrator.platform(one.account.platform))
        for step in steps:
            echo(f"    {step}")
    if all(one.is_well for one in found):
        terminal.say("doctor_fine", number=len(found))


def _print_clock(terminal: Terminal, apart: timedelta | None, *, is_right: bool) -> None:
    if is_right:
        terminal.say("doctor_clock_right")
    elif apart is not None:
        terminal.say("doctor_clock_wrong", seconds=f"{apart.total_seconds():+.0f}")
    else:
        terminal.say("doctor_clock_unknown")


def _to_do(one: Examination, narrator: Narrator, now: datetime) -> Iterator[str]:
    """Say what a person has to do about a login, and where."""
    say, account = narrator.messages.say, one.account
    said = one.health.reason if isinstance(one.health, Blocked) else ""
    facts = {"account": account.id, "name": account.secret, "place": narrator.place(account.platform)}
    facts["address"] = narrator.address(said)
    match one.health:
        case Ready(until=datetime() as until) if until - now <= timedelta(days=max(WARNINGS)):
            yield say("doctor_renew_soon", **facts, days=days_left(one.health, now))
        case Ready():
            pass
        case CredentialExpired(reason=reason):
            yield from _of_code(reason, narrator, facts)
            yield say("doctor_renew", **facts)
        case Blocked(code=code):
            if said:
                yield say("doctor_said", said=said)
            yield from _of_code(code, narrator, facts)
            yield say("doctor_act", **facts)
        case RateLimited(until=until):
            yield say("doctor_wait", **facts, until=narrator.time(until))
        case Unknown(reason=reason):
            yield from _of_code(reason, narrator, facts)
            yield say("doctor_reach", **facts)
    if not one.checkup.quota_left:
        yield say("doctor_quota", **facts)
    for pause in one.pauses:
        yield narrator.pause("still_paused", pause)


def _of_code(code: str, narrator: Narrator, facts: dict[str, str]) -> Iterator[str]:
    """Give what the catalogue says to do about a code."""
    if hint := narrator.messages.hint(code, **facts) or narrator.messages.hint(f"reason_{code}", **facts):
        yield hint
