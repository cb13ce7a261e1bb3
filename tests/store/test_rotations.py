"""A secret that a person who has left knows must be replaced, unless it is gone."""

import pytest

from publisher.domain.user import parse_grant
from publisher.engine.decisions import named_person
from publisher.store.secret_reports import SecretReport

LI = named_person("li")
KEY_REPORT = SecretReport(stored=["key"], hashes={"key": "h"})


async def add_users(store):
    for name in ("zhang", "wang"):
        await store.users.add(name, [parse_grant("admin")], LI)


async def is_rotation_due(store, *reports):
    """Let the daemon of a store report its secrets, and return True if the alert is open."""
    for report in reports:
        await store.kept_secrets.report(report)
    return "rotation_due" in {alert.code for alert in await store.queries.alerts()}


@pytest.mark.parametrize(
    ("after", "is_due"),
    [
        (SecretReport(stored=["key"]), True),
        (SecretReport(elsewhere={"key": "/run/key"}), True),
        (SecretReport(vault_error=["vault_unreadable", "key"]), True),
        (SecretReport(stored=["other"], hashes={"other": "h"}), False),
        (SecretReport(), False),
    ],
    ids=["stored", "elsewhere", "unreadable", "removed", "none left"],
)
async def test_a_removed_secret_need_not_be_replaced(open_store, after, is_due):
    """A value that cannot be read at the moment is not removed."""
    store = await open_store()
    await store.actions.register_worker()
    await add_users(store)
    await store.kept_secrets.report(KEY_REPORT)
    await store.users.leave("wang", ["key"], LI)
    assert await is_rotation_due(store, KEY_REPORT)
    assert await is_rotation_due(store, after) is is_due


async def test_a_removed_secret_of_one_host_may_be_used_by_another(open_store):
    """The alert ends with the last running daemon that has the secret."""
    one, two = [await open_store(worker=name) for name in ("one", "two")]
    await add_users(one)
    for host in (one, two):
        await host.actions.register_worker()
        await host.kept_secrets.report(KEY_REPORT)
    await one.users.leave("wang", ["key"], LI)
    assert await is_rotation_due(one, SecretReport())
    await two.actions.deregister_worker()
    assert not await is_rotation_due(one, SecretReport())


async def test_a_removed_secret_that_no_daemon_has_used_need_not_be_replaced(
    open_store,
):
    store = await open_store()
    await add_users(store)
    await store.users.leave("wang", ["key"], LI)
    assert await is_rotation_due(store)
    await store.actions.record_action("secret_removed", "secret:key", LI, {})
    assert not await is_rotation_due(store)
