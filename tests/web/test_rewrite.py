"""What a platform has refused is corrected and sent where it failed, and nowhere else."""

import asyncio
import re
from datetime import timedelta

import pytest

from publisher.domain.account import AccountId
from publisher.domain.delivery import State
from publisher.domain.errors import RefusedError
from publisher.domain.post import PostId
from publisher.engine.planner import apply_schedule, resend_post
from publisher.i18n import Messages
from tests.cli.posts import write_schedule
from tests.web.posts import POST, plan, set_state
from tests.web.test_write import fields_of, posts, without_waiting  # noqa: F401 # a fixture

REFUSED = "weibo_20021"
AGAIN = "/write?like=refund&only=refused"


@pytest.fixture
async def refused(site):
    """Refuse a post on one Weibo account; the others have it, or may have it."""
    write_schedule(site.application.settings.workspace, POST)
    await plan(site, POST)
    await set_state(site, State.PUBLISHED, attempts=1)
    await set_state(site, State.FAILED, "beijing-weibo", reason=REFUSED, attempts=1)
    await set_state(site, State.UNKNOWN, "shanghai-tieba", attempts=1)
    return site


async def test_the_copy_is_for_the_account_that_failed_alone(refused):
    """The button leads to a copy with the failed account, at a time of its own, not the first id.

    The save is a new post. An account that has the first one, or may have it, is refused.
    """
    client = await refused.signed_in("author")
    page = (await client.get("/posts/refund")).text
    assert f'href="{AGAIN.replace("&", "&amp;")}"' in page
    fields = fields_of((await client.get(AGAIN)).text)
    assert fields["to"] == ["beijing-weibo"]
    filled = {**fields, "id": "refund-2", "title": "警惕退款", "do": "save"}

    for other in ("shanghai-weibo", "shanghai-tieba"):
        sent = {**filled, "to": ["beijing-weibo", other]}
        answer = await client.post("/write", data=sent)
        assert (answer.status_code, "这一条只给没有发成的账号" in answer.text) == (
            422,
            True,
        )
    file = refused.application.settings.schedule_file
    assert [post["id"] for post in posts(file)] == ["refund"]

    assert (await client.post("/write", data=filled)).status_code == 303
    first, second = await asyncio.to_thread(posts, file)
    assert (second["id"], second["to"]) == ("refund-2", ["beijing-weibo"])
    assert first["to"] == ["platform:weibo", "platform:tieba"]


async def test_the_page_of_the_failed_account_leads_to_the_copy(refused):
    """Its words name a button: an author has it there, and anybody else reads whom to ask."""
    path = "/deliveries/refund/once/beijing-weibo"
    author = await refused.signed_in("author")
    other = await refused.signed_in("approver")
    pages = [(await client.get(path)).text for client in (author, other)]
    assert [f'href="{AGAIN.replace("&", "&amp;")}"' in page for page in pages] == [
        True,
        False,
    ]
    assert "请作者（zhang）在这一页按" in pages[1]
    elsewhere = path.replace("beijing-weibo", "shanghai-tieba")
    assert "only=refused" not in (await author.get(elsewhere)).text


async def test_the_copy_says_what_was_refused_where(refused):
    """The page that repairs a post has the platform's reason, and accounts by their names."""
    client = await refused.signed_in("author")
    page = (await client.get(AGAIN)).text
    reason = Messages("zh_CN").translate(REFUSED)
    assert f"<strong>北京 · 微博：{reason}</strong>" in page
    [label] = re.findall(r'data-testid="field-to-beijing-weibo">([^<]*)', page)
    assert label.strip() == "北京 · 微博"


@pytest.mark.long
@pytest.mark.parametrize("state", [State.DUE, State.SENDING, State.HELD])
async def test_nothing_is_sent_again_while_the_outcome_is_open(refused, state):
    """The failed account is under way again: neither the button is there, nor the page, nor a save."""
    client = await refused.signed_in("author")
    fields = fields_of((await client.get(AGAIN)).text)
    await set_state(refused, state, "beijing-weibo")
    saved = {**fields, "id": "refund-2", "title": "警惕退款", "do": "save"}
    assert (await client.post("/write", data=saved)).status_code == 422
    assert (await client.get(AGAIN)).status_code == 409
    assert "only=refused" not in (await client.get("/posts/refund")).text


@pytest.mark.parametrize("role", ["viewer", "approver", "author@shanghai-tieba"])
async def test_only_a_writer_of_that_account_is_offered_it(refused, role):
    """Others have no button, and no page with the account in it."""
    client = await refused.signed_in(role, name="别")
    assert "only=refused" not in (await client.get("/posts/refund")).text
    assert (await client.get(AGAIN)).status_code in {403, 404, 409}


async def test_what_was_written_again_is_not_sent_a_second_time(refused):
    """Once the copy is planned, the first text is not sent to its account, and is nobody's work.

    Its page leads to the copy. When the copy is cancelled, the first text can be sent again.
    """
    refused.runtime.advance_time(timedelta(days=1))
    application, client = refused.application, await refused.signed_in("author")
    fields = fields_of((await client.get(AGAIN)).text)
    copy = {**fields, "id": "refund-2", "title": "警惕退款", "do": "save"}
    assert (await client.post("/write", data=copy)).status_code == 303
    text = await asyncio.to_thread(
        application.settings.schedule_file.read_text, "utf-8"
    )
    await apply_schedule(application.planner, text, "schedule.toml")

    page = (await client.get("/posts/refund")).text
    assert ("only=refused" in page, 'href="/posts/refund-2"' in page) == (False, True)
    assert (await client.get(AGAIN)).status_code == 409
    page = (await client.get("/deliveries/refund/once/beijing-weibo")).text
    assert ("/resend" in page, 'href="/posts/refund-2"' in page) == (False, True)
    account, post = AccountId("beijing-weibo"), PostId("refund")
    [original] = await application.store.posts.family_posts(post)
    with pytest.raises(RefusedError, match="resend_rewritten"):
        await resend_post(application.planner, original, [account], [])

    await set_state(refused, State.CANCELLED, post="refund-2")
    assert "only=refused" in (await client.get("/posts/refund")).text
    assert await application.store.posts.resend_blocker(original, account) is None


async def test_a_region_that_was_written_again_is_not_sent_a_second_time(site):
    """The copy of a family's region is found by the deliveries of both, whatever their form."""
    own = '[post.region.310000]\ntitle = "上海的标题"\n'
    write_schedule(site.application.settings.workspace, POST + own)
    await plan(site, POST + own)
    member = PostId("refund.310000")
    await set_state(site, State.PUBLISHED, post="refund.110000", attempts=1)
    failed = {"reason": REFUSED, "attempts": 1}
    await set_state(site, State.FAILED, post=member, **failed)
    site.runtime.advance_time(timedelta(days=1))
    application, client = site.application, await site.signed_in("author")
    again = f"/write?like={member}&only=refused"
    fields = fields_of((await client.get(again)).text)
    assert set(fields["to"]) == {"shanghai-weibo", "shanghai-tieba"}
    copy = {**fields, "id": "refund-2", "do": "save"}
    assert (await client.post("/write", data=copy)).status_code == 303
    text = await asyncio.to_thread(
        application.settings.schedule_file.read_text, "utf-8"
    )
    await apply_schedule(application.planner, text, "schedule.toml")
    original = await application.store.posts.get_post(member)
    blocker = await application.store.posts.resend_blocker(
        original, AccountId("shanghai-weibo")
    )
    assert blocker == "resend_rewritten"
    assert (await client.get(again)).status_code == 409


async def test_two_people_do_not_repair_the_same_refusal(refused):
    """The second save is refused before the first is in force, and so is sending the text again.

    Another post like it, to any account, is no repair.
    """
    application = refused.application
    first, second = [await refused.signed_in("author", name=name) for name in "甲乙"]
    forms = [fields_of((await each.get(AGAIN)).text) for each in (first, second)]
    like = fields_of((await second.get("/write?like=refund")).text)
    title = {"title": "警惕退款来电", "do": "save"}
    saved = {**forms[0], **title, "id": "refund-2"}
    assert (await first.post("/write", data=saved)).status_code == 303

    answer = await second.post("/write", data={**forms[1], **title, "id": "refund-3"})
    assert (answer.status_code, "同事刚刚改写了这一条" in answer.text) == (422, True)
    [original] = await application.store.posts.family_posts(PostId("refund"))
    accounts = [AccountId("beijing-weibo")]
    with pytest.raises(RefusedError, match="resend_rewritten"):
        await resend_post(application.planner, original, accounts, [])
    other = {**like, **title, "id": "refund-4", "when": "asap"}
    assert (await second.post("/write", data=other)).status_code == 303
    ids = [
        post["id"]
        for post in await asyncio.to_thread(posts, application.settings.schedule_file)
    ]
    assert ids == ["refund", "refund-2", "refund-4"]
