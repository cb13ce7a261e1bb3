"""Apps: each account that was registered has one of its own, all others share the open mode's."""

import hashlib

from publisher.simulator.world import World

OPEN_APP = "1000000000"


def secret(identity: str) -> dict[str, str]:
    digest = hashlib.sha512(f"weibo/{identity}".encode()).hexdigest()
    return {
        "app_key": str(1_000_000_000 + int(digest[:7], 16)),
        "app_secret": digest[8:40],
        "access_token": f"2.00{digest[40:68]}",
    }


def app_of(world: World, identity: str) -> str:
    account = world.accounts.get(("weibo", identity))
    return account.secret.get("app_key", OPEN_APP) if account else OPEN_APP


def developer_of(world: World, app_key: str) -> str:
    """The account whose own app it is; empty for an app that nobody registered."""
    owners = (
        account.identity
        for account in world.accounts.values()
        if account.platform == "weibo" and account.secret.get("app_key") == app_key
    )
    return next(owners, "")


def knows_app(world: World, app_key: str) -> bool:
    return bool(app_key) and (world.settings.open or bool(developer_of(world, app_key)))


def is_secret_right(world: World, app_key: str, app_secret: str) -> bool:
    """In open mode an app that nobody registered has any secret."""
    owner = developer_of(world, app_key)
    return world.accounts["weibo", owner].secret.get("app_secret") == app_secret if owner else world.settings.open
