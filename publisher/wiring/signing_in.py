"""Signing a login in with a browser: what to open, and what to do with what comes back."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

from publisher.concealing import know_secrets
from publisher.contract import Http, SignIn
from publisher.domain.account import Account
from publisher.domain.problem import Problem
from publisher.settings import Settings
from publisher.vault import SecretError, Vault, hidden, read_secret
from publisher.wiring.application import allowed_hosts, vault_of
from publisher.wiring.line import open_line
from publisher.wiring.terms import factories
from publisher.world import World

DEADLINE = timedelta(seconds=20)


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One signing in that has begun: the page to open, and all that is needed to finish it."""

    account: Account
    address: str
    state: str
    secret: Mapping[str, str] = field(repr=False)
    sign_in: SignIn
    vault: Vault
    http: Http

    async def finish(self, answer: str) -> Problem | None:
        """Change the answer for a new secret and keep it in the encrypted store; a Problem says why that failed."""
        state = parse_qs(urlsplit(answer).query).get("state", [self.state])
        if state != [self.state]:
            return Problem(code="login_of_another", facts={"account": self.account.id})
        renewed = await self.sign_in.exchange(self.account, self.secret, answer, self.http)
        if isinstance(renewed, Problem):
            return renewed
        know_secrets(hidden(renewed))
        self.vault.write(self.account.secret, renewed)
        return None


def begin(settings: Settings, account: Account, world: World) -> Session | Problem:
    """Begin signing in. Raises SecretError when the app's own credentials are not in the encrypted store."""
    factory = factories(frozenset({account.platform}))[account.platform]
    sign_in: SignIn | None = getattr(factory, "sign_in", None)
    if sign_in is None:
        return Problem(code="login_not_by_browser", facts={"account": account.id, "name": account.secret})
    if not _is_renewable(account, settings):
        return Problem(code="login_secret_elsewhere", facts={"name": account.secret})
    secret = read_secret(account.secret, vault=vault_of(settings))
    state = secrets.token_urlsafe(16)
    return Session(
        account=account,
        address=sign_in.address(account, secret, state),
        state=state,
        secret=secret,
        sign_in=sign_in,
        vault=vault_of(settings),
        http=open_line(deadline=DEADLINE, monotonic=world.monotonic, allow=allowed_hosts([account], settings, factory)),
    )


def _is_renewable(account: Account, settings: Settings) -> bool:
    """Whether nothing hides the encrypted store: a secret in the environment or in a file would be used before it."""
    try:
        read_secret(account.secret, secrets_dir=settings.secrets_dir)
    except SecretError as error:
        return error.code == "secret_missing"
    return False
