"""`accounts`: the logins and their last health check, from the database."""

import asyncio
from collections.abc import Sequence
from datetime import datetime

from publisher.app.adapters import build_policies
from publisher.app.format import Formatter, credential_days_left
from publisher.cli.context import has_database, load_workspace_settings, open_command_store
from publisher.cli.framework import command, json_option
from publisher.cli.terminal import Terminal
from publisher.domain.results import result_code
from publisher.store.monitor.login_health import AccountHealth


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
            AccountHealth(account=item.account, mode=item.account.mode, quota_left=item.rate_limit.per_day)
            for item in policies.values()
        ]
    formatter = Formatter(messages=terminal.messages, timezone=settings.timezone)
    now = datetime.now(settings.timezone)
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
                "days_since_verified": (now - login.verified_at).days if login.verified_at else None,
            }
            for login in logins
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
            formatter.time(login.verified_at),
        )
        for login in logins
    ]
    terminal.print_table(("account", "platform", "health", "days_left", "quota_left", "last_verified"), rows)
