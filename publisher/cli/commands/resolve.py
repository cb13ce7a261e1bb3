"""`resolve`: a person decides about one delivery."""

import click

from publisher.app.format import Formatter, pauses_covering
from publisher.app.open_store import AccessMode
from publisher.cli.authentication import authenticate
from publisher.cli.context import (
    load_workspace_settings,
    open_command_store,
    warn_about_daemon,
)
from publisher.cli.errors import CommandFailedError
from publisher.cli.framework import (
    LocalizedUsageError,
    by_option,
    choice,
    command,
    one_line,
    reason_option,
)
from publisher.cli.target import DeliveryTarget, delivery_target, find_deliveries
from publisher.cli.terminal import Terminal, echo
from publisher.domain.delivery import OPEN_STATES
from publisher.engine.decisions import (
    CONFIRM,
    RULINGS,
    Resolution,
    can_be_resolved,
    decide,
)


@command("resolve")
@click.argument("target", metavar="POST@ACCOUNT", type=delivery_target)
@click.argument("ruling", metavar="|".join(RULINGS), type=choice(*RULINGS))
@click.argument("url", metavar="[URL]", type=one_line, required=False)
@by_option
@reason_option
async def resolve(  # noqa: PLR0913 # one argument an option
    terminal: Terminal,
    target: DeliveryTarget,
    ruling: str,
    url: str | None,
    *,
    by: str,
    reason: str,
) -> None:
    resolution = Resolution.PUBLISHED if ruling == CONFIRM else Resolution(ruling)
    require_url(ruling, url)
    settings = await load_workspace_settings(terminal)
    formatter = Formatter(messages=terminal.messages, timezone=settings.timezone)
    # `cancel` can lead to no post, whatever the database has lost: it must always work
    access = AccessMode.READ if resolution is Resolution.CANCEL else AccessMode.COMMAND
    async with open_command_store(settings, access) as store:
        queries = store.queries
        [held] = await find_deliveries(
            queries, target, settings.timezone, can_be_resolved
        )
        person = await authenticate(
            terminal, settings, store, command="resolve", by=by, accounts=[held.account]
        )
        subject = formatter.subject(held)
        if (
            ruling == CONFIRM
            and await store.actions.confirmation_request(held.id) is None
        ):
            raise CommandFailedError("nothing_to_confirm", subject=subject)
        decision = await decide(store, held, ruling, by=person, reason=reason, url=url)
        if ruling == Resolution.PUBLISHED:
            terminal.print_message("resolve_requested", subject=subject, by=by)
        if decision.code == "resolve_requested":
            return
        facts = {
            "subject": subject,
            "by": by,
            "reason": reason,
            "url": decision.url,
            "second": decision.second,
        }
        terminal.print_message(decision.code, **facts)
        after = decision.delivery
        if resolution is Resolution.RESEND:
            for pause in pauses_covering(await queries.pauses(), after):
                echo(formatter.pause("still_paused", pause), err=True)
        if after.state in OPEN_STATES:
            await warn_about_daemon(terminal, settings, queries)


def require_url(ruling: str, url: str | None) -> None:
    """Raise LocalizedUsageError unless there is an address exactly where the decision needs one."""
    if ruling == Resolution.PUBLISHED and not url:
        raise LocalizedUsageError("resolve_needs_url")
    if ruling != Resolution.PUBLISHED and url:
        raise LocalizedUsageError("resolve_takes_no_url", ruling=ruling)
