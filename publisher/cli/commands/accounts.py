"""`accounts`: how the logins are, from the books."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from publisher.app.adapters import build_policies
from publisher.cli.context import has_database, load_workspace_settings, open_command_store
from publisher.cli.format import NO_VALUE, Formatter, credential_days_left, format_health
from publisher.cli.framework import command, json_option
from publisher.cli.terminal import Terminal, echo
from publisher.cli.text_width import align_columns
from publisher.config import Settings
from publisher.domain.results import (
    result_code,
)
from publisher.store.monitor.login_health import AccountHealth, LoginHealthStore


@command("accounts")
@json_option
def accounts(terminal: Terminal, *, as_json: bool) -> int:
    settings, logins = asyncio.run(_read(terminal))
    formatter = Formatter(messages=terminal.messages, timezone=settings.timezone)
    now = datetime.now(settings.timezone)
    if as_json:
        terminal.print_json({"accounts": [_as_json(checkup, formatter, now) for checkup in logins]})
    else:
        echo("\n".join(align_columns(_table_rows(logins, formatter, now))))
    return 0


async def _read(terminal: Terminal) -> tuple[Settings, Sequence[AccountHealth]]:
    settings = await load_workspace_settings(terminal)
    if not has_database(settings):
        policies = await asyncio.to_thread(build_policies, settings)
        return settings, [
            AccountHealth(account=item.account, mode=item.account.mode, quota_left=item.rate_limit.per_day)
            for item in policies.values()
        ]
    async with open_command_store(settings) as store:
        return settings, await LoginHealthStore(store).list_accounts()


def _as_json(login: AccountHealth, formatter: Formatter, now: datetime) -> dict[str, Any]:
    return {
        "account": login.account.id,
        "platform": login.account.platform,
        "mode": login.mode.value,
        "health": result_code(login.health) if login.health else None,
        "checked": formatter.iso(login.probed_at),
        "days_left": credential_days_left(login.health, now),
        "quota_left": login.quota_left,
        "days_since_verified": (now - login.verified_at).days if login.verified_at else None,
    }


def _table_rows(logins: Sequence[AccountHealth], formatter: Formatter, now: datetime) -> list[tuple[str, ...]]:
    names = ("account", "platform", "health", "days_left", "quota_left", "last_verified")
    rows = [tuple(formatter.messages.translate(f"column_{name}") for name in names)]
    for login in logins:
        left = credential_days_left(login.health, now)
        rows.append(
            (
                login.account.id,
                formatter.platform(login.account.platform),
                format_health(login.health, formatter),
                NO_VALUE if left is None else formatter.messages.translate("days", days=left),
                str(login.quota_left),
                formatter.time(login.verified_at) if login.verified_at else NO_VALUE,
            )
        )
    return rows
