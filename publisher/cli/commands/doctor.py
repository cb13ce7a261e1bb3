"""`doctor`: check every login now, and show the needed steps."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import click

from publisher.app.application import Application
from publisher.app.format import Formatter, credential_days_left
from publisher.app.permissions import find_unsafe_permissions
from publisher.app.rights import find_missing_rights
from publisher.cli.application import open_command_application
from publisher.cli.authentication import authenticate
from publisher.cli.context import load_workspace_settings, warn_about_daemon
from publisher.cli.errors import format_problems, problem_as_json
from publisher.cli.framework import (
    LocalizedUsageError,
    command,
    json_option,
    person_name,
)
from publisher.cli.terminal import Terminal, echo
from publisher.config import Settings
from publisher.domain.account import Account, Mode
from publisher.domain.errors import Problem
from publisher.domain.results import (
    Blocked,
    CredentialExpired,
    HealthCheckResult,
    Healthy,
    HoldReason,
    RateLimited,
    Unknown,
    result_code,
)
from publisher.engine.clock_check import ClockCheck
from publisher.engine.secret_report import find_other_places
from publisher.runtime.clock import Runtime
from publisher.store.monitor.login_health import EXPIRY_WARNING_DAYS, AccountHealth
from publisher.store.queries.queries import Pause
from publisher.store.system_alerts import RIGHTS_MISSING

HEALTH_CHECK_TIMEOUT = timedelta(seconds=30)
MAX_HEALTH_CHECKS = 10
EXPIRY_NOTICE = timedelta(days=max(EXPIRY_WARNING_DAYS))


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginDiagnosis:
    """The result of one login's health check, by one of its accounts, and their pauses."""

    login_health: AccountHealth
    health: HealthCheckResult
    pauses: Sequence[Pause]
    daemon_place: str | None = None
    """Where the daemon has another value of the secret than was checked here, if so."""

    @property
    def account(self) -> Account:
        return self.login_health.account

    @property
    def is_healthy(self) -> bool:
        return (
            isinstance(self.health, Healthy)
            and self.daemon_place is None
            and self.login_health.quota_left > 0
            and not self.pauses
        )


@command("doctor")
@click.option("--confirm-clock", is_flag=True, help="opt_confirm_clock")
@click.option("--by", metavar="NAME", type=person_name, help="opt_by")
@json_option
async def doctor(
    terminal: Terminal, *, confirm_clock: bool, by: str | None, as_json: bool
) -> int:
    if confirm_clock is not (by is not None):
        raise LocalizedUsageError("confirm_clock_needs_by")
    settings = await load_workspace_settings(terminal)
    formatter = Formatter(messages=terminal.messages, timezone=settings.timezone)
    if by is not None:
        await vouch_for_clock(terminal, settings, formatter, by)
        return 0
    async with open_command_application(settings, can_read=True) as application:
        diagnoses, runtime = (
            await diagnose_logins(application),
            application.store.runtime,
        )
        await warn_about_daemon(
            terminal, settings, application.store.queries, absent="doctor_no_daemon"
        )
        file_problems = await find_file_problems(application)
    now = datetime.now(settings.timezone)
    if as_json:
        logins = [login_as_json(diagnosis, formatter, now) for diagnosis in diagnoses]
        files = [
            problem_as_json(problem, terminal.messages) for problem in file_problems
        ]
        offset = runtime.server_clock_offset
        apart = offset.total_seconds() if offset is not None else None
        clock = {"confirmed": runtime.is_clock_confirmed(), "apart": apart}
        terminal.print_json({"logins": logins, "clock": clock, "files": files})
    else:
        _print_diagnoses(terminal, diagnoses, formatter, now)
        _print_clock(terminal, runtime)
        if file_problems:
            echo(format_problems(file_problems, terminal.messages))
    are_files_safe = not any(problem.is_error for problem in file_problems)
    are_logins_healthy = all(diagnosis.is_healthy for diagnosis in diagnoses)
    return int(
        not (are_files_safe and runtime.is_clock_confirmed() and are_logins_healthy)
    )


async def find_file_problems(application: Application) -> Sequence[Problem]:
    """Return the files that others may change, and the missing rights, here and in a dashboard.

    A dashboard reports its missing rights itself. A dashboard that the daemon does not start may
    have a user of its own, with rights other than this process has.
    """
    settings = application.settings
    lacking = find_missing_rights(settings) if settings.dashboard.enabled else ()
    alerts = [
        alert
        for alert in await application.store.queries.alerts()
        if alert.code == RIGHTS_MISSING
    ]
    stored = [
        facts for alert in alerts for facts in json.loads(alert.facts["problems"])
    ]
    shown = {problem.code for problem in lacking}
    reported = [
        Problem(code=facts["code"], facts=facts)
        for facts in stored
        if facts["code"] not in shown
    ]
    return [*find_unsafe_permissions(settings), *lacking, *reported]


async def vouch_for_clock(
    terminal: Terminal, settings: Settings, formatter: Formatter, by: str
) -> None:
    """Record that a person vouches for this machine's clock, unless a platform contradicts it.

    Raises RefusedError.
    """
    async with open_command_application(settings, can_read=True) as application:
        store = application.store
        person = await authenticate(
            terminal, settings, store, command="doctor --confirm-clock", by=by
        )
        await ClockCheck(store=store, adapters=application.adapters).ask_every_site()
        reading = await store.actions.confirm_clock(person)
        is_proven = store.runtime.is_clock_proven()
    terminal.print_message("clock_confirmed_done", by=by, at=formatter.time(reading.at))
    if not is_proven:
        terminal.print_message("clock_confirmed_by_word")


async def diagnose_logins(application: Application) -> Sequence[LoginDiagnosis]:
    """Check every login without a cooldown, MAX_HEALTH_CHECKS at a time, and record the results.

    The replies confirm the clock. A result for another secret than the daemon's is not recorded.
    """
    store, runtime = application.store, application.store.runtime
    runtime.confirm_from_kernel()
    if (reading := await store.actions.confirmed_clock_reading()) is not None:
        runtime.accept_confirmation(reading)
    accounts = [
        one for one in await store.login_health.list_accounts() if one.mode is Mode.API
    ]
    one_by_login = {
        account_health.account.login: account_health for account_health in accounts
    }
    pauses = await store.queries.pauses()
    places = await find_other_places(store, application.settings)
    gate = asyncio.Semaphore(MAX_HEALTH_CHECKS)

    async def diagnose(login: AccountHealth) -> LoginDiagnosis:
        scopes = {
            f"account:{one.account.id}"
            for one in accounts
            if one.account.login == login.account.login
        }
        health: HealthCheckResult = RateLimited(
            code="rate_limited", until=login.cooldown_until
        )
        daemon_place = places.get(login.account.secret)
        if login.cooldown_until is None:
            async with gate:
                health = await application.credentials.ask_platform(
                    login.account.id, HEALTH_CHECK_TIMEOUT
                )
                if daemon_place is None:
                    await store.login_health.record_probe(login.account, health)
        return LoginDiagnosis(
            login_health=login,
            health=health,
            pauses=[pause for pause in pauses if pause.scope in scopes],
            daemon_place=daemon_place,
        )

    return await asyncio.gather(*map(diagnose, one_by_login.values()))


def login_as_json(
    diagnosis: LoginDiagnosis, formatter: Formatter, now: datetime
) -> dict[str, object]:
    """Return a login's diagnosis as it is printed with --json."""
    return {
        "account": diagnosis.account.id,
        "platform": diagnosis.account.platform,
        "health": result_code(diagnosis.health),
        "message": formatter.health(diagnosis.health),
        "days_left": credential_days_left(diagnosis.health, now),
        "quota_left": diagnosis.login_health.quota_left,
        "to_do": list(required_steps(diagnosis, formatter, now)),
    }


def _print_clock(terminal: Terminal, runtime: Runtime) -> None:
    if runtime.is_clock_proven():
        terminal.print_message("doctor_clock_right")
    elif runtime.is_clock_confirmed():
        terminal.print_message("doctor_clock_by_word")
    elif (offset := runtime.server_clock_offset) is not None:
        terminal.print_message(
            "doctor_clock_wrong", seconds=f"{offset.total_seconds():+.0f}"
        )
    else:
        terminal.print_message("doctor_clock_unknown")


def _print_diagnoses(
    terminal: Terminal,
    diagnoses: Sequence[LoginDiagnosis],
    formatter: Formatter,
    now: datetime,
) -> None:
    rows = []
    for one in diagnoses:
        is_healthy = isinstance(one.health, Healthy)
        health = (
            terminal.translate("doctor_ready")
            if is_healthy
            else formatter.health(one.health)
        )
        platform = formatter.messages.platform_name(one.account.platform)
        quota = str(one.login_health.quota_left)
        rows.append(
            (
                one.account.id,
                platform,
                health,
                formatter.days_left(one.health, now),
                quota,
            )
        )
    if rows:
        terminal.print_table(
            ("account", "platform", "health", "days_left", "quota_left"), rows
        )
    for one in diagnoses:
        if steps := list(required_steps(one, formatter, now)):
            platform = formatter.messages.platform_name(one.account.platform)
            terminal.print_message(
                "doctor_line", account=one.account.id, platform=platform
            )
        for step in steps:
            echo(f"    {step}")
    if all(one.is_healthy for one in diagnoses):
        terminal.print_message("doctor_all_healthy", number=len(diagnoses))


def required_steps(
    diagnosis: LoginDiagnosis, formatter: Formatter, now: datetime
) -> Iterator[str]:
    """Yield the steps for a person about a login, and their places."""
    translate, account = formatter.messages.translate, diagnosis.account
    platform_message = (
        diagnosis.health.reason if isinstance(diagnosis.health, Blocked) else ""
    )
    facts = {
        "account": account.id,
        "name": account.secret,
        "place": formatter.sign_in_place(account.platform),
    }
    facts |= {
        "address": formatter.ip_address(platform_message),
        "secret": account.secret,
    }
    facts["renewal"] = translate(
        formatter.messages.first_known(f"renewal_{account.platform}", "renewal_other"),
        **facts,
    )
    if diagnosis.daemon_place is not None:
        yield translate("doctor_other_secret", **facts, source=diagnosis.daemon_place)
    yield from _steps_of_health(diagnosis.health, formatter, now, facts)
    if not diagnosis.login_health.quota_left:
        yield translate("doctor_quota", **facts)
    for pause in diagnosis.pauses:
        yield formatter.pause("still_paused", pause)


def _steps_of_health(
    health: HealthCheckResult,
    formatter: Formatter,
    now: datetime,
    facts: dict[str, str],
) -> Iterator[str]:
    translate = formatter.messages.translate
    match health:
        case Healthy(credentials_expire_at=datetime() as until) if (
            until - now <= EXPIRY_NOTICE
        ):
            yield translate(
                "doctor_renew_soon", **facts, days=credential_days_left(health, now)
            )
        case Healthy():
            pass
        case CredentialExpired(reason=reason):
            yield from _hints_for_code(reason, formatter, facts)
            yield translate("doctor_renew", **facts)
        case Blocked(code=code, reason=said, hold_reason=hold_reason):
            if said:
                yield translate("doctor_platform_message", said=said)
            yield from _hints_for_code(code, formatter, facts)
            is_foreign = hold_reason is HoldReason.WRONG_SECRET
            step = "doctor_renew" if is_foreign else "doctor_needs_login"
            yield translate(step, **facts)
        case RateLimited(until=until):
            yield translate("doctor_wait", **facts, until=formatter.time(until))
        case Unknown(reason=reason):
            yield from _hints_for_code(reason, formatter, facts)
            yield translate("doctor_unreachable", **facts)


def _hints_for_code(
    code: str, formatter: Formatter, facts: dict[str, str]
) -> Iterator[str]:
    if hint := formatter.messages.hint(code, **facts) or formatter.messages.hint(
        f"reason_{code}", **facts
    ):
        yield hint
