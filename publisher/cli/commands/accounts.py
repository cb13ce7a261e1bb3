"""`accounts`: the logins and their last health check, from the database."""

import asyncio
from collections.abc import Sequence
from datetime import datetime

from publisher.app.adapters import build_policies
from publisher.app.format import Formatter, credential_days_left
from publisher.cli.context import (
    has_database,
    load_workspace_settings,
    open_command_store,
)
from publisher.cli.framework import command, json_option
from publisher.cli.terminal import Terminal
from publisher.domain.account import Mode
from publisher.domain.results import result_code
from publisher.domain.silence import SilenceClock, SilenceLevel, read_silence_clock
from publisher.store.monitor.login_health import AccountHealth

SILENCE_STYLES = {
    SilenceLevel.NOTICE: "yellow",
    SilenceLevel.ALARM: "bold yellow",
    SilenceLevel.RED: "bold red",
}


@command("accounts")
@json_option
async def accounts(terminal: Terminal, *, as_json: bool) -> None:
    settings = await load_workspace_settings(terminal)
    logins: Sequence[AccountHealth]
    if has_database(settings):
        async with open_command_store(settings) as store:
            logins = await store.login_health.list_accounts()
    else:
        policies = await asyncio.to_thread(build_policies, settings)
        logins = [
            AccountHealth(
                account=item.account,
                mode=item.account.mode,
                quota_left=item.rate_limit.per_day,
            )
            for item in policies.values()
        ]
    formatter = Formatter(messages=terminal.messages, timezone=settings.timezone)
    now = datetime.now(settings.timezone)
    clocks = {
        login.account.id: read_silence_clock(login.activity, now, settings.timezone)
        for login in logins
        if login.activity is not None and login.mode is not Mode.OFF
    }
    if as_json:
        listed = [
            {
                "account": login.account.id,
                "platform": login.account.platform,
                "mode": login.mode.value,
                "health": result_code(login.health) if login.health else None,
                "checked": formatter.iso(login.probed_at),
                "days_left": credential_days_left(login.health, now),
                "quota_left": login.quota_left,
                "days_since_verified": clock.days
                if clock and clock.last_post_at
                else None,
                "silence": silence_as_json(clock, formatter) if clock else None,
            }
            for login, clock in (
                (login, clocks.get(login.account.id)) for login in logins
            )
        ]
        terminal.print_json({"accounts": listed})
        return
    rows = [
        (
            login.account.id,
            formatter.messages.platform_name(login.account.platform),
            formatter.health(login.health),
            formatter.days_left(login.health, now),
            str(login.quota_left),
            formatter.time(login.activity.last_post_at if login.activity else None),
            formatter.silence(clocks.get(login.account.id)),
        )
        for login in logins
    ]
    columns = (
        "account",
        "platform",
        "health",
        "days_left",
        "quota_left",
        "last_verified",
        "silence",
    )
    levels = [
        clock.level if (clock := clocks.get(login.account.id)) else None
        for login in logins
    ]
    styles = [SILENCE_STYLES.get(level, "") if level else "" for level in levels]
    terminal.print_table(columns, rows, styled_column="silence", styles=styles)


def silence_as_json(
    clock: SilenceClock, formatter: Formatter
) -> dict[str, str | int | None]:
    """Return an account's silence clock for machines. `level` is none, notice, alarm or red."""
    return {
        "since": clock.since.isoformat(),
        "days": clock.days,
        "level": clock.level.value,
        "red_on": clock.red_on.isoformat(),
        "last_post": formatter.iso(clock.last_post_at),
    }
