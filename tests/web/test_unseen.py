"""What was not published stays somebody's until one has seen it, and Today is not green over it."""

import re
from datetime import timedelta

import pytest

from publisher.domain.account import AccountId
from publisher.domain.delivery import State
from publisher.engine.decisions import named_person
from publisher.testing.builders import enqueue_posts, make_post
from publisher.web.kit.todo import TodoKind, todo_id
from publisher.web.posts.deliveries import delivery_path
from tests.cli.posts import warning
from tests.web.posts import SOON, hidden_fields, plan
from tests.web.test_live import next_frame, open_page
from tests.web.test_today import verdict_of

BY = named_person("值班")
SEEN = "/posts/p/seen"
FAILED = todo_id(TodoKind.FAILED, "p", "expired")


async def miss(site, *posts, accounts=None):
    """Let posts expire unpublished on accounts, as a long pause makes them."""
    accounts = accounts or list(site.store.policies)[:1]
    at = site.runtime.now()
    await enqueue_posts(
        site.store.posts,
        *(make_post(post, accounts, at, title="反诈提示") for post in posts),
    )
    site.runtime.advance_time(timedelta(days=2))
    await site.store.maintenance.run()
    await site.store.actions.register_worker()
    states = {item.state for item in await site.store.queries.deliveries()}
    assert states == {State.EXPIRED}


async def test_what_was_not_published_is_somebodys_until_one_has_seen_it(site):
    """An author has it to do, a viewer is not shown a green page, and one acknowledgement ends it.

    It ends the alert too, and can be taken back.
    """
    await miss(site, "p")
    site.runtime.advance_time(timedelta(days=30))
    await site.store.actions.register_worker()
    author, viewer = await site.signed_in("author"), await site.signed_in("viewer")
    before = [(await one.get("/today")).text for one in (author, viewer)]
    inbox = (await author.get("/inbox?kind=failed")).text
    done = await author.post(SEEN, data=hidden_fields(inbox, SEEN))
    after = [(await one.get("/today")).text for one in (author, viewer)]
    [alert] = await site.store.queries.acknowledged_alerts()
    assert [verdict_of(page) for page in before] == [
        ("warn", "有 1 件事要您处理"),
        ("warn", "有 1 个没发成，还没有人看过"),
    ]
    assert "已过期，没有发布" in inbox
    assert [("act-seen-" in page) for page in before] == [True, False]
    assert done.status_code == 303
    assert [verdict_of(page)[0] for page in after] == ["fine", "fine"]
    assert (alert.code.partition(".")[0], alert.dismissed_by) == ("expired", "author")

    undo = hidden_fields(after[0], "/posts/p/unseen")
    assert (await author.post("/posts/p/unseen", data=undo)).status_code == 303
    assert FAILED in (await author.get("/inbox")).text
    assert (await author.post("/posts/p/unseen", data=undo)).status_code == 404


async def test_the_alert_and_the_thing_to_do_are_ended_by_one_act(site):
    """An alert that is acknowledged on its own page is nobody's to do any more."""
    await miss(site, "p")
    operator = await site.signed_in("operator")
    [alert] = await site.store.queries.alerts()
    was = (await operator.get("/inbox")).text
    await operator.post(f"/alerts/{alert.id}/acknowledge")
    assert (FAILED in was, FAILED in (await operator.get("/inbox")).text) == (
        True,
        False,
    )


async def test_one_card_is_about_all_accounts_and_no_later_one(site):
    """Accounts that ended alike are one card, and what ends later is not acknowledged unseen.

    A person with some of the accounts acknowledges on those alone.
    """
    accounts = list(site.store.policies)
    await miss(site, "p", accounts=accounts)
    all_of_them = await site.signed_in("operator", name="王")
    page = (await all_of_them.get("/inbox")).text
    own = await site.signed_in(f"operator@{accounts[0]}", name="李")
    theirs = (await own.get("/inbox")).text
    assert page.count(f'id="{FAILED}"') == 1
    assert f"{len(accounts)} 个账号：" in page
    await own.post(SEEN, data=hidden_fields(theirs, SEEN))
    left = {one.account for one in (await site.store.waiting.read()).unseen}
    assert left == set(map(AccountId, accounts[1:]))
    fields = hidden_fields(page, SEEN)
    early = fields | {"newest": str(int(fields["newest"]) - 1)}
    await all_of_them.post(SEEN, data=early)
    assert len((await site.store.waiting.read()).unseen) == 1


@pytest.mark.parametrize("role", ["viewer", "approver", "author@shanghai-tieba"])
async def test_only_who_may_send_there_says_to_have_seen_it(site, role):
    """Others are shown no button, and are refused, or see no such thing."""
    await miss(site, "p", accounts=["beijing-weibo"])
    client = await site.signed_in(role, name="别")
    [one] = (await site.store.waiting.read()).unseen
    typed = {"about": "p", "state": "expired", "newest": str(one.alert)}
    page = (await client.get("/inbox")).text
    refused = await client.post(SEEN, data=typed)
    assert "act-seen-" not in page
    assert refused.status_code in {403, 404}
    assert len((await site.store.waiting.read()).unseen) == 1


async def test_what_is_given_up_is_nobodys(site):
    """The decision that a post is not sent at all ends the thing to do."""
    await miss(site, "p")
    await site.store.actions.cancel_post("p", BY, "不发了")
    assert (await site.store.waiting.read()).unseen == []


async def test_what_is_sent_again_is_nobodys_until_that_fails(site):
    """A new order ends the thing to do; its alert stays until something is published."""
    await plan(site, warning("p", to='["beijing-weibo"]', when=SOON))
    site.runtime.advance_time(timedelta(days=2))
    await site.store.maintenance.run()
    before = (await site.store.waiting.read()).unseen
    client = await site.signed_in("operator")
    path = "/deliveries/p/once/beijing-weibo/resend"
    fields = hidden_fields((await client.get(path)).text, path)
    sent = await client.post(path, data={**fields, "reason": "补发"})
    assert sent.status_code == 303
    assert [one.account for one in before] == ["beijing-weibo"]
    assert (await site.store.waiting.read()).unseen == []
    site.runtime.advance_time(timedelta(days=2))
    await site.store.maintenance.run()
    [again] = (await site.store.waiting.read()).unseen
    assert again.key.occurrence != "once"


async def test_an_open_page_learns_of_it_and_of_who_has_seen_it(site):
    """The card of an open inbox turns grey, and says who has seen it."""
    await miss(site, "p")
    viewer = await open_page(site, "/inbox", "author")
    other = await site.signed_in("operator", name="王")
    fields = hidden_fields((await other.get("/inbox")).text, SEEN)
    await other.post(SEEN, data=fields)
    frame = await next_frame(site, viewer, 6)
    assert re.search(rf'id="over-{FAILED}"[^<]*王', frame)


async def test_the_pages_of_a_post_and_a_delivery_have_the_same_button(site):
    """Both pages have the button: the delivery's ends its account's part, the post's the rest.

    A viewer reads that it waits, without a button.
    """
    accounts = list(site.store.policies)[:2]
    await miss(site, "p", accounts=accounts)
    [first, _second] = sorted(
        await site.store.queries.deliveries(), key=lambda one: one.account
    )
    author, viewer = await site.signed_in("author"), await site.signed_in("viewer")
    paths = [delivery_path(first), "/posts/p"]
    shown = [(await viewer.get(path)).text for path in paths]
    assert [("还没有人看过" in page, "act-seen-" in page) for page in shown] == [
        (True, False)
    ] * 2

    left = []
    for path in paths:
        page = (await author.get(path)).text
        done = await author.post(SEEN, data=hidden_fields(page, SEEN))
        left.append({one.account for one in (await site.store.waiting.read()).unseen})
        assert (done.status_code, done.headers["location"]) == (303, path)
        assert 'data-testid="unseen"' not in (await author.get(path)).text
    assert left == [set(accounts) - {first.account}, set()]
