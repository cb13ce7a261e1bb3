"""Apps: each registered account has its own, all others share the app of the open mode."""

import hashlib

from publisher.simulator.state import SimulatorState

OPEN_APP_KEY = "1000000000"


def make_secret(identity: str) -> dict[str, str]:
    digest = hashlib.sha512(f"weibo/{identity}".encode()).hexdigest()
    return {
        "app_key": str(1_000_000_000 + int(digest[:7], 16)),
        "app_secret": digest[8:40],
        "access_token": f"2.00{digest[40:68]}",
    }


def get_app_key(state: SimulatorState, identity: str) -> str:
    account = state.accounts.get(("weibo", identity))
    return account.secret.get("app_key", OPEN_APP_KEY) if account else OPEN_APP_KEY


def find_developer(state: SimulatorState, app_key: str) -> str:
    """Return the account that owns the app; empty for an unregistered app."""
    owners = (
        account.identity
        for account in state.accounts.values()
        if account.platform == "weibo" and account.secret.get("app_key") == app_key
    )
    return next(owners, "")


def is_known_app(state: SimulatorState, app_key: str) -> bool:
    return bool(app_key) and (state.behaviour.open or bool(find_developer(state, app_key)))


def is_secret_correct(state: SimulatorState, app_key: str, app_secret: str) -> bool:
    """True if the secret is the app's own; in open mode an unregistered app accepts any."""
    owner = find_developer(state, app_key)
    return state.accounts["weibo", owner].secret.get("app_secret") == app_secret if owner else state.behaviour.open
