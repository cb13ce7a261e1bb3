"""The daemon's part of a sign-in without a command: it makes links, and exchanges their answers."""

import asyncio
from dataclasses import replace
from datetime import timedelta

from publisher.app.application import Application, LoginSession, start_login
from publisher.domain.account import Account
from publisher.domain.errors import Problem
from publisher.engine.offboard import report_all_secrets
from publisher.runtime.logs import log
from publisher.secrets import SecretError
from publisher.store.monitor.sign_in_links import (
    EXPIRED,
    INTERRUPTED,
    LinkStatus,
    SignInLink,
)

ENDED = frozenset({LinkStatus.DONE, LinkStatus.FAILED})
ANSWER_LIFETIME = timedelta(minutes=5)
"""How long after the end of a link its answer may still be exchanged."""


async def carry_out_links(app: Application) -> None:
    """Send the ordered links, and exchange the answers of those that owners have used.

    An exchange that was interrupted is not repeated: its answer is good for one call.
    """
    for link in await app.store.sign_in_links.list():
        account = app.settings.accounts.get(link.account)
        if account is None:
            await app.store.sign_in_links.forget(link.account)
        elif link.status not in ENDED:
            await _go_on(app, link, account)


async def _go_on(app: Application, link: SignInLink, account: Account) -> None:
    links, now = app.store.sign_in_links, app.runtime.now()
    if link.status is LinkStatus.EXCHANGING:
        await app.store.login_health.request_probe(account)
        await links.finish(link, INTERRUPTED)
    elif link.status is LinkStatus.SENT and now < link.until:
        return
    elif link.status is LinkStatus.ANSWERED and now < link.until + ANSWER_LIFETIME:
        await _exchange(app, link, account)
    elif link.status is LinkStatus.ORDERED and now < link.until:
        await _send(app, link, account)
    else:
        await links.finish(link, EXPIRED)


async def _send(app: Application, link: SignInLink, account: Account) -> None:
    session = await _start(app, account)
    if isinstance(session, Problem):
        await _fail(app, link, session)
        return
    await app.store.sign_in_links.send(link, session.state, session.consent_url)
    log.info("sign_in_link_sent", account=account.id)


async def _exchange(app: Application, link: SignInLink, account: Account) -> None:
    """Exchange an answer for a secret, store it, and let the login be checked at once."""
    store = app.store
    if (answer := await store.sign_in_links.claim(link)) is None:
        return
    claimed = replace(link, status=LinkStatus.EXCHANGING, answer="")
    session = await _start(app, account)
    problem = (
        session if isinstance(session, Problem) else await session.exchange(answer)
    )
    if problem is not None:
        await _fail(app, claimed, problem)
        return
    subject = f"secret:{account.secret}"
    await store.actions.record_action("secret_stored", subject, link.person, {})
    await report_all_secrets(store, app.settings)
    await store.login_health.request_probe(account)
    await store.sign_in_links.finish(claimed)
    log.info("signed_in_by_link", account=account.id)


async def _fail(app: Application, link: SignInLink, problem: Problem) -> None:
    facts = {name: str(value) for name, value in problem.facts.items()}
    await app.store.sign_in_links.finish(link, problem.code, facts)
    log.warning("sign_in_link_failed", account=link.account, reason=problem.code)


async def _start(app: Application, account: Account) -> LoginSession | Problem:
    """Start a sign-in; a secret that cannot be read is a problem as well."""
    try:
        return await asyncio.to_thread(start_login, app.settings, account, app.runtime)
    except SecretError as error:
        return Problem(code=error.code, facts=dict(error.facts))
