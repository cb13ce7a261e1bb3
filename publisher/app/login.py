"""Sign in a login with a browser: the page to open, and the exchange of its response for a secret."""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

from adapters._http import LoginHttp
from publisher.app.adapters import load_factories
from publisher.app.application import build_host_filter, open_vault
from publisher.config import Settings
from publisher.contract import Http, LoginFlow
from publisher.domain.account import Account
from publisher.domain.errors import Problem
from publisher.runtime.clock import Runtime
from publisher.runtime.redaction import register_secrets
from publisher.secrets import SecretError, Vault, list_secret_values, read_secret


def http_for_login(
    *, timeout: timedelta, monotonic: Callable[[], float], is_host_allowed: Callable[[str], bool]
) -> Http:
    """Return an HTTP client for a login, limited to the hosts that `is_host_allowed`. Retries do not wait."""

    async def no_wait(_seconds: float) -> None:
        return

    return LoginHttp(
        request_timeout=timeout,
        monotonic=monotonic,
        failpoint=lambda _name: None,
        is_host_allowed=is_host_allowed,
        sleep=no_wait,
    )


LOGIN_REQUEST_TIMEOUT = timedelta(seconds=20)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginSession:
    """A login that has started: the page to open, and what is needed to finish it."""

    account: Account
    consent_url: str
    state: str
    secret: Mapping[str, str] = field(repr=False)
    login_flow: LoginFlow
    vault: Vault
    http: Http

    async def finish(self, response: str) -> Problem | None:
        """Exchange the response for a new secret and save it in the encrypted store. Return a Problem if that fails."""
        state = parse_qs(urlsplit(response).query).get("state", [self.state])
        if state != [self.state]:
            return Problem(code="login_wrong_request", facts={"account": self.account.id})
        renewed = await self.login_flow.exchange_code(self.account, self.secret, response, self.http)
        if isinstance(renewed, Problem):
            return renewed
        register_secrets(list_secret_values(renewed))
        self.vault.write(self.account.secret, renewed)
        return None


def start_login(settings: Settings, account: Account, runtime: Runtime) -> LoginSession | Problem:
    """Start a login. Raises SecretError if the app's own credentials are not in the encrypted store."""
    factory = load_factories([account])[account.platform]
    login_flow: LoginFlow | None = getattr(factory, "sign_in", None)
    if login_flow is None:
        return Problem(code="login_not_by_browser", facts={"account": account.id, "name": account.secret})
    if not _is_renewable(account, settings):
        return Problem(code="login_secret_elsewhere", facts={"name": account.secret})
    secret = read_secret(account.secret, vault=open_vault(settings))
    state = secrets.token_urlsafe(16)
    return LoginSession(
        account=account,
        consent_url=login_flow.build_authorization_url(account, secret, state),
        state=state,
        secret=secret,
        login_flow=login_flow,
        vault=open_vault(settings),
        http=http_for_login(
            timeout=LOGIN_REQUEST_TIMEOUT,
            monotonic=runtime.monotonic,
            is_host_allowed=build_host_filter([account], settings, factory),
        ),
    )


def _is_renewable(account: Account, settings: Settings) -> bool:
    """Return True if no secret in the environment or in a file would be used before the encrypted store's."""
    try:
        read_secret(account.secret, secrets_dir=settings.secrets_dir)
    except SecretError as error:
        return error.code == "secret_missing"
    return False
