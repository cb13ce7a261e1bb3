"""A shared database that a dump was put back into: who notices it, and who is waited for once it is accepted."""

from datetime import timedelta

import pytest
from sqlalchemy import text, update

from publisher.domain.errors import RefusedError
from publisher.store.home import HOME, awaited, is_at_home, move_in
from publisher.store.orders import Orders
from publisher.store.rows import STAMP
from publisher.store.setup import check_age, check_compared
from publisher.testing.builders import file_posts, post_of
from publisher.testing.fakes import START

pytestmark = pytest.mark.parametrize("database_url", ["postgres"], indirect=True)


def put_back(database_url, books):
    """Leave the database as pg_restore does: the stamp is that of other tables."""
    with books.database.engine.begin() as connection:
        connection.execute(update(STAMP).where(STAMP.c.key == HOME).values(value="1/2"))


async def accept(books, *, waits_for_others=True):
    """Accept it, as a person does."""
    now = books.world.now()

    def operation(unit):
        move_in(unit.connection, books.worker, now, waits_for_others=waits_for_others)

    await books.database.write(operation)


async def test_f85_on_tables_that_were_put_back_nobody_starts_and_nobody_claims(
    database_url, open_desk, tmp_path, world
):
    """A daemon that has outlived the putting back claims nothing; accepted by a person, it goes on."""
    desk = await open_desk()
    await file_posts(desk.registry, post_of("p", ["a"], START))
    await desk.rounds.ripen()
    check_age(database_url, tmp_path / "none.jsonl")
    put_back(database_url, desk.books)
    with pytest.raises(RefusedError) as refused:
        check_age(database_url, tmp_path / "none.jsonl")
    assert refused.value.code == "database_put_back"
    assert await desk.outbox.claim(5) == []
    await accept(desk.books)
    check_age(database_url, tmp_path / "none.jsonl")
    assert len(await desk.outbox.claim(5)) == 1


async def test_f85_a_dump_is_not_accepted_while_another_host_works(database_url, open_books, world):
    """It goes by what was there before; the one who accepts, and who has stopped or been silent, is no hindrance."""
    mine, other, stopped = open_books(), open_books(worker="other"), open_books(worker="stopped")
    for books in (mine, other, stopped):
        await Orders(books).announce()
    await Orders(stopped).leave()
    put_back(database_url, mine)
    with pytest.raises(RefusedError) as refused:
        await accept(mine)
    assert (refused.value.code, refused.value.facts["workers"]) == ("workers_alive", "other")
    assert not await mine.database.read(is_at_home)
    world.pass_time(timedelta(minutes=2))
    await accept(mine)
    assert await mine.database.read(is_at_home)


async def test_f85_what_sends_waits_until_every_host_has_compared_its_journal(database_url, open_desk, world):
    """Hosts that were silent for longer than a journal reaches back are not waited for, and nobody after a lost one."""
    mine, other = await open_desk(), await open_desk(worker="other")
    retired = await open_desk(worker="retired")
    await Orders(retired.books).announce()
    world.pass_time(timedelta(days=91))
    for desk in (mine, other):
        await Orders(desk.books).announce()
        await Orders(desk.books).leave()
    await accept(mine.books)
    assert await mine.books.database.read(awaited) == ["other"]
    with pytest.raises(RefusedError) as refused:
        check_compared(database_url)
    assert (refused.value.code, refused.value.facts["workers"]) == ("workers_awaited", "other")
    await mine.outbox.claim(1)
    assert await mine.books.database.read(awaited) == ["other"]
    await other.outbox.claim(1)
    check_compared(database_url)
    await accept(mine.books, waits_for_others=False)
    check_compared(database_url)


async def test_an_ordinary_role_can_see_where_the_database_lives(open_books):
    """publisher's own role need not be the server's master."""
    with open_books().database.engine.connect() as connection:
        connection.execute(text("CREATE ROLE plain_reader"))
        connection.execute(text("GRANT SELECT ON stamp TO plain_reader"))
        connection.execute(text("SET LOCAL ROLE plain_reader"))
        assert is_at_home(connection)
