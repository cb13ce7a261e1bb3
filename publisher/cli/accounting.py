"""`accounts`: how the logins are, from the books."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from publisher.cli.narrating import NOT_TOLD, Narrator
from publisher.cli.shape import command, json_option
from publisher.cli.terminal import Terminal, echo
from publisher.cli.widths import in_columns
from publisher.cli.workplace import books_of, has_books, settings_of
from publisher.domain.outcome import Blocked, CredentialExpired, Health, RateLimited, Ready, Unknown, code_of
from publisher.settings import Settings
from publisher.store.checkups import Checkup, Checkups
from publisher.wiring.terms import terms_of


@command("accounts")
@json_option
def accounts(terminal: Terminal, *, as_json: bool) -> int:
    settings, checkups = asyncio.run(_read(terminal))
    narrator = Narrator(messages=terminal.messages, timezone=settings.timezone)
    now = datetime.now(settings.timezone)
    if as_json:
        terminal.show({"accounts": [_as_document(checkup, narrator, now) for checkup in checkups]})
    else:
        echo("\n".join(in_columns(_rows(checkups, narrator, now))))
    return 0


async def _read(terminal: Terminal) -> tuple[Settings, Sequence[Checkup]]:
    settings = await settings_of(terminal)
    if not has_books(settings):
        terms = await asyncio.to_thread(terms_of, settings)
        return settings, [
            Checkup(account=item.account, mode=item.account.mode, quota_left=item.quota.per_day)
            for item in terms.values()
        ]
    async with books_of(settings) as books:
        return settings, await Checkups(books).all()


def _as_document(checkup: Checkup, narrator: Narrator, now: datetime) -> dict[str, Any]:
    return {
        "account": checkup.account.id,
        "platform": checkup.account.platform,
        "mode": checkup.mode.value,
        "health": code_of(checkup.health) if checkup.health else None,
        "checked": narrator.iso(checkup.at),
        "days_left": days_left(checkup.health, now),
        "quota_left": checkup.quota_left,
        "days_since_verified": (now - checkup.verified_at).days if checkup.verified_at else None,
    }


def _rows(checkups: Sequence[Checkup], narrator: Narrator, now: datetime) -> list[tuple[str, ...]]:
    names = ("account", "platform", "health", "days_left", "quota_left", "last_verified")
    rows = [tuple(narrator.messages.say(f"column_{name}") for name in names)]
    for checkup in checkups:
        left = days_left(checkup.health, now)
        rows.append(
            (
                checkup.account.id,
                narrator.platform(checkup.account.platform),
                health_words(checkup.health, narrator),
                NOT_TOLD if left is None else narrator.messages.say("days", days=left),
                str(checkup.quota_left),
                narrator.time(checkup.verified_at) if checkup.verified_at else NOT_TOLD,
            )
        )
    return rows


def days_left(health: Health | None, now: datetime) -> int | None:
    """Say for how many whole days the credentials last, where the platform tells."""
    return (health.until - now).days if isinstance(health, Ready) and health.until else None


def health_words(health: Health | None, narrator: Narrator) -> str:
    """Put a probe's answer into words."""
    match health:
        case None:
            return narrator.messages.say("health_never")
        case Ready():
            return narrator.messages.say("health_ready")
        case CredentialExpired(reason=reason):
            return narrator.messages.say("health_expired", reason=narrator.reason(reason))
        case Blocked(code=reason):
            return narrator.messages.say("health_blocked", reason=narrator.reason(reason))
        case RateLimited(until=until):
            return narrator.messages.say("health_rate_limited", until=narrator.time(until))
        case Unknown(reason=reason):
            return narrator.messages.say("health_unknown", reason=narrator.reason(reason))
