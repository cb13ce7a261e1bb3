"""What a platform has refused is corrected and sent where it failed, and nowhere else."""

import asyncio

import pytest

from publisher.domain.delivery import State
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
