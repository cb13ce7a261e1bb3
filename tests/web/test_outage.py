"""The dashboard while the database is away, busy or full: true words, and status 503."""

import sqlite3
from datetime import timedelta

import pytest
from sqlalchemy import event

HEALTH_OF_SILENCE = "no daemon runs, or it cannot write the database"


def raise_busy(*_statement):
    error = sqlite3.OperationalError("database is locked")
    error.sqlite_errorcode = sqlite3.SQLITE_BUSY
    raise error


@pytest.fixture
def end_database(site):
    """Return a function after which each statement finds the database locked."""
    engine = site.store.database.engine

    def end():
        event.listen(engine, "before_cursor_execute", raise_busy)

    yield end
    if event.contains(engine, "before_cursor_execute", raise_busy):
        event.remove(engine, "before_cursor_execute", raise_busy)


@pytest.mark.parametrize("path", ["/today", "/metrics", "/login"])
async def test_f81_a_page_without_the_database_does_not_say_that_publishing_goes_on(
    site, end_database, path
):
    """F81: the page is a 503, and says that publishing waits for the database too."""
    client = await site.signed_in("viewer")
    await site.store.actions.register_worker()
    end_database()
    response = await client.get(path)
    assert response.status_code == 503
    assert "发布也在等它恢复" in response.text


async def test_f81_health_without_the_database_is_unknown(site, end_database):
    """F81: health is 503 without the database, and does not say that the daemon is down."""
    await site.store.actions.register_worker()
    client = site.client()
    site.runtime.advance_time(timedelta(seconds=2))
    end_database()
    response = await client.get("/healthz")
    assert response.status_code == 503
    assert "the daemon's state is not known" in response.text


async def test_f81_health_without_heartbeats_names_both_causes(site):
    """F81: a daemon that cannot write its heartbeat is not said to have stopped."""
    client = site.client()
    texts = [(await client.get("/healthz")).text]
    await site.store.actions.register_worker()
    site.runtime.advance_time(timedelta(seconds=60))
    texts.append((await client.get("/healthz")).text)
    assert texts[0] == "no daemon has run yet\n"
    assert HEALTH_OF_SILENCE in texts[1]


async def test_a_fault_of_a_page_does_not_speak_for_the_daemon(site, monkeypatch):
    """A page with a fault of ours is a 500, and says nothing about the state of publishing."""
    client = await site.signed_in("viewer")
    monkeypatch.setattr(site.store.waiting, "read", None)
    response = await client.get("/today")
    assert response.status_code == 500
    assert "发布不靠这个页面" in response.text
