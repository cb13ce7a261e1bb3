"""Previewing a post to one person: the calls to WeChat, and that none of them publishes."""

import asyncio
import json
from datetime import timedelta

import httpx
import pytest

from publisher.contract import PostPreviewer
from publisher.domain.results import (
    Blocked,
    NotSent,
    PreviewSent,
    RateLimited,
    Rejected,
    Submitted,
)
from tests.adapters.fakes_wechat import (
    COVER,
    INSIDE,
    NOW,
    WeChatScene,
    article,
    error,
    item,
    page,
    send_request,
)

MAKES_PUBLIC = ("freepublish/submit", "message/mass/sendall", "message/mass/send")


@pytest.fixture
def scene():
    made = WeChatScene()
    made.works()
    made.answers(
        "message/mass/preview",
        {"errcode": 0, "errmsg": "preview success", "msg_id": 34182},
    )
    return made


async def show(scene, *, to="zhangsan", **changes):
    return await scene.adapter.send_preview(article(**changes), (COVER, INSIDE), to)


def public_calls(scene):
    return [path for path in MAKES_PUBLIC if scene.asked(path)]


async def test_one_person_is_shown_the_exact_text(scene):
    """The draft holds title, summary, link and content of the final post.

    One name gets it, and nothing is public.
    """
    assert isinstance(scene.adapter, PostPreviewer)
    assert await show(scene) == PreviewSent()
    [preview] = scene.bodies("message/mass/preview")
    assert preview == {
        "towxname": "zhangsan",
        "msgtype": "mpnews",
        "mpnews": {"media_id": "DRAFT"},
    }
    assert await scene.adapter.publish(send_request()) == await _submitted(scene)
    shown, published = (body["articles"][0] for body in scene.bodies("draft/add"))
    assert shown.pop("author") == "预览"
    assert published.pop("author") == ""
    assert shown == published


async def _submitted(scene):
    answer = await WeChatScene(router=scene.router, state=scene.state).adapter.publish(
        send_request()
    )
    assert isinstance(answer, Submitted)
    return answer


async def test_a_preview_publishes_nothing(scene):
    """No call of a preview publishes or sends to more than the one person."""
    await show(scene)
    assert public_calls(scene) == []


async def test_the_same_text_shares_a_draft(scene):
    """A second person costs no second draft; another text, or a deleted draft, does."""
    await show(scene)
    await show(scene, to="lisi")
    assert len(scene.asked("draft/add")) == 1
    assert [body["towxname"] for body in scene.bodies("message/mass/preview")] == [
        "zhangsan",
        "lisi",
    ]
    await show(scene, title="另一个标题")
    assert len(scene.asked("draft/add")) == 2
    scene.answers("draft/get", error(40007))
    await show(scene)
    assert len(scene.asked("draft/add")) == 3


async def test_a_draft_that_cannot_be_read_is_not_made_again(scene):
    """A failed read is reported; no drafts pile up in the draft box."""
    await show(scene)
    scene.answers("draft/get", error(-1))
    assert not isinstance(await show(scene), PreviewSent)
    assert len(scene.asked("draft/add")) == 1


async def test_a_days_previews_are_counted(scene):
    """After as many as WeChat allows none is made, until the next day in Beijing."""
    scene.state.values["previews"] = json.dumps({"day": "2026-11-25", "number": 99})
    assert await show(scene) == PreviewSent()
    answer = await show(scene)
    assert isinstance(answer, RateLimited)
    assert len(scene.asked("message/mass/preview")) == 1
    scene.now = NOW + timedelta(days=1)
    assert await show(scene) == PreviewSent()


async def test_previews_made_at_once_count_each(scene):
    """Two commands at the same time share the remaining previews of the day."""
    scene.state.values["previews"] = json.dumps({"day": "2026-11-25", "number": 99})
    answers = await asyncio.gather(show(scene), show(scene, to="lisi"))
    assert sorted(type(answer).__name__ for answer in answers) == [
        "PreviewSent",
        "RateLimited",
    ]
    assert len(scene.asked("message/mass/preview")) == 1


@pytest.mark.parametrize(
    ("code", "kind"),
    [(48001, Blocked), (45009, RateLimited), (45166, Rejected), (40132, NotSent)],
)
async def test_a_refusal_is_reported_as_what_it_is(scene, code, kind):
    """Missing permission, used-up quota, rejected text, and an unlisted code."""
    scene.answers("message/mass/preview", error(code))
    assert isinstance(await show(scene), kind)


async def test_a_preview_with_a_lost_answer_is_not_repeated(scene):
    """A preview is not repeated, so that nobody gets it twice."""
    scene.answers("message/mass/preview", httpx.ReadTimeout("lost"))
    assert not isinstance(await show(scene), PreviewSent)
    assert len(scene.asked("message/mass/preview")) == 1


async def test_a_previews_draft_is_never_a_deliverys_own(scene):
    """A second attempt that has lost its draft's id searches for it.

    The search skips drafts of previews.
    """
    shown = item("PREVIEW", key="media_id", author="预览")
    scene.answers("draft/batchget", page(shown))
    await scene.adapter.publish(send_request(attempt=2))
    assert [body["media_id"] for body in scene.bodies("freepublish/submit")] == [
        "DRAFT"
    ]
