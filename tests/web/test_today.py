"""Today: the verdict, the visitor's tasks, and a row for each post of the day."""

import gzip
import re
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import update

from publisher.domain.account import AccountId
from publisher.domain.delivery import Actor, Role
from publisher.store.db.tables import DELIVERY
from publisher.testing.builders import enqueue_posts, make_post
from publisher.web.today.page import MAX_ROWS

BY = Actor(role=Role.PERSON, name="值班")


def verdict_of(page):
    return re.search(
        r'<section class="verdict (\w+)".*?<h1>(.*?)</h1>', page, re.DOTALL
    ).groups()


async def open_today(site, *grants, query=""):
    await site.store.actions.register_worker()
    client = await site.signed_in(*(grants or ("operator",)))
    return (await client.get(f"/today{query}")).text


async def test_a_calm_day_says_so_and_names_the_next_post(site):
    """With nothing to do the first sentence says it, and the next post is named."""
    at = site.runtime.now() + timedelta(hours=2)
    await enqueue_posts(
        site.store.posts,
        make_post("p", [next(iter(site.store.policies))], at, title="反诈提示"),
    )
    page = await open_today(site)
    assert verdict_of(page) == ("fine", "一切正常，不用您做什么")
    assert "下一条 11:00《反诈提示》，1 个账号" in page
    assert 'data-testid="row-p"' in page


async def test_a_held_delivery_is_mine_if_i_may_decide_about_it(site):
    """A held delivery is first for an operator, and is another's matter for an author."""
    account = AccountId(next(iter(site.store.policies)))
    await enqueue_posts(site.store.posts, make_post("p", [account], site.runtime.now()))
    await site.store.maintenance.run()
    await site.store.actions.pause(f"account:{account}", BY, "密码被改")
    operator, author = (
        await open_today(site, "operator"),
        await open_today(site, "author"),
    )
    assert verdict_of(operator) == ("warn", "有 1 件事要您处理")
    assert verdict_of(author) == ("warn", "有 1 件卡住了，别人在处理")
    assert f'data-testid="todo-account-{account}"' in operator


async def test_what_is_due_tomorrow_is_said_to_be(site):
    """The verdict and the next post name the day, as the list does."""
    account = AccountId(next(iter(site.store.policies)))
    at = site.runtime.now() + timedelta(hours=23)
    await enqueue_posts(
        site.store.posts, make_post("p", [account], at, title="反诈提示")
    )
    held = update(DELIVERY).values(state="held", reason="uncheckable", expires_at=at)
    page = await open_today(site, "viewer")
    await site.store.database.write(lambda unit: unit.connection.execute(held))
    operator = await site.signed_in("operator")
    assert "下一条 明天 08:00《反诈提示》" in page
    assert (
        verdict_of((await operator.get("/today")).text)[1]
        == "有 1 件事要您处理，最急的 明天 08:00 到期"
    )


async def test_the_menu_counts_what_waits_for_the_visitor(site):
    """The number in the menu is that of the visitor's inbox.

    It counts tasks within the visitor's permissions, and goes once they are done.
    """
    account = AccountId(next(iter(site.store.policies)))
    await enqueue_posts(site.store.posts, make_post("p", [account], site.runtime.now()))
    operator, author = await site.signed_in("operator"), await site.signed_in("author")
    before = (await operator.get("/accounts")).text
    await site.store.actions.pause(f"account:{account}", BY, "密码被改")
    paused, others = (
        (await operator.get("/accounts")).text,
        (await author.get("/accounts")).text,
    )
    await site.store.actions.resume(f"account:{account}", BY)
    after = (await operator.get("/accounts")).text
    badge = '<b class="badge" id="badge-inbox" aria-label="1 件">1</b>'
    assert [badge in page for page in (before, paused, others, after)] == [
        False,
        True,
        False,
        False,
    ]


async def test_a_pause_of_everything_is_said_first(site):
    """While everything is paused, or no daemon runs, nothing else comes first."""
    await site.store.actions.pause("all", BY, "演练")
    page = await open_today(site)
    silent = await site.client(dict(site.clients[0].cookies)).get("/today")
    site.runtime.advance_time(timedelta(minutes=3))
    site.app.state.site.caches.frame_facts.clear()
    silent = (await site.clients[0].get("/today")).text
    assert verdict_of(page)[1].startswith("已全部暂停")
    assert verdict_of(silent)[1].startswith("发布系统停了")


async def test_other_days_and_tabs_are_links(site):
    """The day and the tab are in the address; a day without posts says so."""
    account = next(iter(site.store.policies))
    await enqueue_posts(
        site.store.posts,
        make_post("p", [account], site.runtime.now() + timedelta(days=1)),
    )
    tomorrow = await open_today(site, query="?day=2026-11-26")
    today = (await site.clients[0].get("/today?tab=eventful")).text
    assert 'data-testid="row-p"' in tomorrow
    assert 'data-testid="row-p"' not in today
    assert "今天没有要发的" in today


async def test_a_day_of_70_posts_is_folded(site):
    """Urgent posts come first, then the next due; the rest are counted under one line."""
    account, at = AccountId(next(iter(site.store.policies))), site.runtime.now()
    posts = [
        make_post(f"p{number:02}", [account], at + timedelta(minutes=1 + number))
        for number in range(70)
    ]
    posts[60] = replace(posts[60], is_urgent=True)
    await enqueue_posts(site.store.posts, *posts)
    page = await open_today(site)
    board = page[page.index('id="rows"') :]
    assert f"还有 {70 - MAX_ROWS} 条" in board
    shown, rest = board.split('data-testid="more"')
    found = re.findall(r'data-testid="row-(p\d\d)"', shown)
    assert found == ["p60", *(f"p{number:02}" for number in range(MAX_ROWS - 1))]
    assert rest.count('class="post-row"') == 70 - MAX_ROWS


async def test_what_is_long_finished_is_folded_away(site):
    """Long finished posts are folded away and counted in one line.

    The line says that all is verified only if nothing was given up.
    """
    account, at = AccountId(next(iter(site.store.policies))), site.runtime.now()
    await enqueue_posts(
        site.store.posts, make_post("p", [account], at), make_post("q", [account], at)
    )
    published = update(DELIVERY).values(
        state="published", remote_id="1", published_at=at, url=""
    )
    await site.store.database.write(
        lambda unit: unit.connection.execute(published.where(DELIVERY.c.post == "p"))
    )
    await site.store.actions.cancel_post("q", BY, "x")
    site.runtime.advance_time(timedelta(hours=2))
    mixed = await open_today(site)
    await site.store.database.write(
        lambda unit: unit.connection.execute(
            published.where(DELIVERY.c.post == "q").values(remote_id="2")
        )
    )
    verified = (await site.clients[0].get("/today")).text
    assert [
        re.search(r'data-testid="folded".*?(已完成[^<]*)<', page, re.DOTALL)[1]
        for page in (mixed, verified)
    ] == [
        "已完成 2 条",
        "已完成 2 条，全部核实",
    ]


@pytest.mark.long
@pytest.mark.parametrize("regions", [50])
async def test_a_large_day_is_a_page_within_its_budget(site, regions):
    """A large day is a page of 25 KB at most, compressed.

    It has 10,000 deliveries of 67 posts on 150 accounts. P15 measures its time.
    """
    start, accounts = site.runtime.now(), list(site.store.policies)
    posts = [
        make_post(f"p{number}", accounts, start + timedelta(minutes=7 * number))
        for number in range(67)
    ]
    await enqueue_posts(site.store.posts, *posts)
    for platform in ("weibo", "wechat", "tieba"):
        of_platform = (
            update(DELIVERY)
            .where(DELIVERY.c.account.endswith(platform))
            .values(platform=platform)
        )
        await site.store.database.write(
            lambda transaction, change=of_platform: transaction.connection.execute(
                change
            )
        )
    await site.store.actions.register_worker()
    client = await site.signed_in("viewer")
    page = (await client.get("/today")).text
    assert page.count('data-testid="row-') == 67
    assert len(gzip.compress(page.encode(), 5)) <= 25 * 1024
    assert len(re.findall(r"<[a-z]", page.partition("<main")[2])) <= 2_500


async def test_the_day_lists_what_is_near_first(site):
    """Of what stands alike, the nearest to now is first, whether it is past or to come."""
    account, now = AccountId(next(iter(site.store.policies))), site.runtime.now()
    for post, hours in {"early": -0.9, "late": -0.5, "soon": 1, "evening": 6}.items():
        at = now + timedelta(hours=hours)
        await enqueue_posts(site.store.posts, make_post(post, [account], at))
    published = update(DELIVERY).where(DELIVERY.c.post.in_(["early", "late"]))
    await site.store.database.write(
        lambda unit: unit.connection.execute(published.values(state="published"))
    )
    page = await open_today(site, "viewer")
    rows = re.findall(r'data-testid="row-(\w+)"', page)
    assert rows == ["soon", "evening", "late", "early"]
