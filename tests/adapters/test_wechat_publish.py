"""Publishing on WeChat: the repeatable steps, then one submission, then no guess."""

import json
import urllib.parse
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from adapters.wechat.codes import get_next_midnight
from publisher.domain.results import (
    Blocked,
    Busy,
    CredentialExpired,
    HoldReason,
    NotSent,
    RateLimited,
    Rejected,
    Submitted,
    Unknown,
)
from publisher.engine.calls import call_adapter
from publisher.testing.conformance.harness import MemoryAdapterState
from tests.adapters.fakes_wechat import (
    APP_ID,
    BASE,
    COVER,
    INSIDE,
    NOW,
    DeathError,
    Tokens,
    WeChatScene,
    article,
    drafted,
    error,
    item,
    page,
    picture,
    send_request,
)
from tests.adapters.test_wechat_codes import EXPECTED, MIDNIGHT

ADDRESS = "http://mmbiz.qpic.cn/x?a=1&amp;b=2"
CREDENTIALS = [
    code for code, outcome in EXPECTED.items() if isinstance(outcome, CredentialExpired)
]


@pytest.fixture
def scene():
    made = WeChatScene()
    made.works()
    return made


def _expected_before(code):
    """Before the submission nothing can be unknown, and a busy system is only busy."""
    if code == -1:
        return Busy(code="wechat_-1", reason="said the platform")
    expected = EXPECTED.get(code, Unknown(reason=f"wechat_{code}"))
    return (
        NotSent(reason=expected.reason) if isinstance(expected, Unknown) else expected
    )


async def test_an_article_is_submitted(scene):
    """Pictures, draft and one submission lead to a ticket that names both and is read soon."""
    outcome = await scene.adapter.publish(send_request())
    assert isinstance(outcome, Submitted)
    assert json.loads(outcome.ticket.payload) == {
        "name": "2650100001",
        "delivery": 7,
        "polls": 0,
    }
    assert outcome.check_again_at == NOW + timedelta(seconds=15)
    assert scene.bodies("freepublish/submit") == [{"media_id": "DRAFT"}]
    assert scene.state.values["draft:7"] == drafted("DRAFT")
    assert scene.passed == [
        "media.after_upload",
        "media.after_upload",
        "step.after_commit",
    ]


async def test_the_draft_holds_what_was_approved(scene):
    """The draft's text is the approved one, byte for byte, except the address of each picture."""
    await scene.adapter.publish(send_request())
    [draft] = scene.bodies("draft/add")[0]["articles"]
    approved = article()
    assert draft["content"] == approved.text.replace(
        f"media:{picture(INSIDE).sha256}", ADDRESS
    )
    assert draft["title"] == approved.title
    assert draft["digest"] == approved.summary
    assert draft["content_source_url"] == approved.link
    assert draft["thumb_media_id"] == "COVER"
    assert draft["need_open_comment"] == 0


async def test_the_cover_is_cut_as_it_was_approved(scene):
    """Only a shape that the author has decided is sent: the platform cuts the other by itself."""
    plain = send_request()
    cover, *others = plain.rendered.images
    cut = replace(cover, crop_wide="0_0.1_1_0.9")
    rendered = replace(plain.rendered, images=(cut, *others))
    await scene.adapter.publish(replace(plain, rendered=rendered))
    await scene.adapter.publish(send_request(delivery=8))
    first, second = (body["articles"][0] for body in scene.bodies("draft/add"))
    assert first["pic_crop_235_1"] == "0_0.1_1_0.9"
    assert "pic_crop_1_1" not in first
    assert first.keys() - second.keys() == {"pic_crop_235_1"}


async def test_uploads_carry_a_filename_and_a_length(scene):
    """Each picture is sent as one named file with a declared length, the cover permanently."""
    await scene.adapter.publish(send_request())
    [cover], [inside] = (
        scene.asked("material/add_material"),
        scene.asked("media/uploadimg"),
    )
    assert urllib.parse.parse_qs(cover.url.query.decode())["type"] == ["image"]
    for request, data in ((cover, COVER), (inside, INSIDE)):
        assert data in request.content
        assert b'name="media"; filename="' in request.content
        assert request.headers["content-length"] == str(len(request.content))


async def test_a_picture_is_uploaded_once_per_login(scene):
    """A second delivery with the same pictures uses the stored ones."""
    await scene.adapter.publish(send_request())
    await scene.adapter.publish(send_request(delivery=8))
    assert (
        len(scene.asked("material/add_material"))
        == len(scene.asked("media/uploadimg"))
        == 1
    )
    assert len(scene.asked("draft/add")) == 2


async def test_a_cover_that_was_deleted_is_stored_again(scene):
    """A recorded cover that WeChat no longer knows is uploaded once more.

    The draft is made with the new upload.
    """
    scene.state.values[f"cover:{picture(COVER).sha256}"] = "OLD"
    scene.answers("draft/add", error(40007), {"media_id": "DRAFT"})
    assert isinstance(await scene.adapter.publish(send_request()), Submitted)
    assert [
        body["articles"][0]["thumb_media_id"] for body in scene.bodies("draft/add")
    ] == [
        "OLD",
        "COVER",
    ]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"images": (COVER,)}, "cover"),
        ({"rendered": article(images=()), "images": ()}, "cover"),
        (
            {"rendered": article(images=(picture(COVER),)), "images": (COVER,)},
            picture(INSIDE).sha256,
        ),
    ],
)
async def test_nothing_is_published_without_its_pictures(scene, changes, named):
    """F75: a missing picture holds the delivery; no draft is made without it."""
    outcome = await scene.adapter.publish(send_request(**changes))
    assert outcome == Blocked(
        code="wechat_image_missing", reason=named, hold_reason=HoldReason.IMAGE_MISSING
    )
    assert not scene.asked("draft/add")


@pytest.mark.parametrize(
    "code", [code for code in (*EXPECTED, 99999) if code not in CREDENTIALS]
)
async def test_each_code_on_the_draft(scene, code):
    """A rejected draft means the same, but is never unknown: nothing was submitted."""
    scene.answers("draft/add", error(code))
    assert await scene.adapter.publish(send_request()) == _expected_before(code)
    assert not scene.asked("freepublish/submit")


def spoilt(body, spot="\ud83d"):
    """Return a response with half an emoji, or U+0000, as WeChat would write it in JSON."""
    return httpx.Response(
        200, content=json.dumps(body).replace("~", json.dumps(spot)[1:-1]).encode()
    )


async def test_f31_f45_a_refused_draft_cut_within_an_emoji_is_a_refusal(scene):
    """F31, F45: the code of a refused draft counts, with any end of its message.

    The core can store the message.
    """
    scene.answers("draft/add", spoilt(error(45166, "invalid content~")))
    outcome = await call_adapter(
        scene.adapter.publish(send_request()), timedelta(seconds=5)
    )
    assert outcome == Rejected(code="wechat_45166", reason="invalid content\ufffd")
    assert not scene.asked("freepublish/submit")


@pytest.mark.parametrize("spot", ["\ud83d", "\0"], ids=ascii)
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("material/add_material", {"media_id": "COVER~"}),
        ("media/uploadimg", {"url": "http://mmbiz.qpic.cn/~"}),
        ("draft/add", {"media_id": "DRAFT~"}),
        ("stable_token", {"access_token": "T~", "expires_in": 7200}),
    ],
)
async def test_f31_a_damaged_id_is_not_used(scene, path, body, spot):
    """F31: no id, address or token that a platform's reply has damaged is used or kept.

    Nothing was created.
    """
    scene.tokens.value = None
    scene.answers(path, spoilt(body, spot))
    assert await scene.adapter.publish(send_request()) == NotSent(
        reason="wechat_incomplete"
    )
    assert not any(
        spot in json.dumps(value) or spot in value
        for value in scene.state.values.values()
    )
    assert not scene.asked("freepublish/submit")


@pytest.mark.parametrize("spot", ["\ud83d", "\0"], ids=ascii)
async def test_f31_f52_a_list_with_a_damaged_id_is_no_absence(scene, spot):
    """F31, F52: the article behind it may be ours."""
    scene.answers(
        "freepublish/batchget",
        spoilt(page(item("A~", title="别的", digest="", content_source_url="")), spot),
    )
    assert await scene.adapter.find_post(send_request()) == Unknown(
        reason="wechat_incomplete"
    )


async def test_a_refused_second_submission_is_unknown(scene):
    """F25: refused on a second attempt, the draft may have been submitted by the first one."""
    scene.answers("freepublish/submit", error(53503))
    assert await scene.adapter.publish(send_request(attempt=2)) == Unknown(
        reason="wechat_53503"
    )


async def test_a_demand_for_a_person_holds_the_delivery(scene):
    """F49: an article that WeChat wants published by hand waits for a person."""
    scene.answers("freepublish/submit", error(53504))
    outcome = await scene.adapter.publish(send_request())
    assert isinstance(outcome, Blocked)
    assert outcome.hold_reason is HoldReason.CAPTCHA


async def test_an_unlisted_code_is_unknown(scene):
    """F34 F58: a code that the table does not know proves nothing."""
    scene.answers("freepublish/submit", error(99999))
    assert await scene.adapter.publish(send_request()) == Unknown(reason="wechat_99999")


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (httpx.ReadTimeout("late"), Unknown(reason="timeout")),
        (
            httpx.Response(502, html="<h1>Bad Gateway</h1>"),
            Unknown(reason="server_error"),
        ),
        (
            httpx.Response(200, html="<h1>Login</h1>"),
            Unknown(reason="wechat_unreadable"),
        ),
        (
            httpx.Response(200, text='{"errcode":0,"publ'),
            Unknown(reason="wechat_unreadable"),
        ),
        (
            httpx.Response(302, headers={"location": "http://elsewhere"}),
            Unknown(reason="redirected"),
        ),
        ({"errcode": 0, "errmsg": "ok"}, Unknown(reason="wechat_incomplete")),
        (
            httpx.Response(429, headers={"retry-after": "60"}),
            RateLimited(code="wechat_http_429", until=NOW + timedelta(minutes=1)),
        ),
        (httpx.Response(429), RateLimited(code="wechat_http_429", until=None)),
        (httpx.ConnectError("refused"), NotSent(reason="connect_failed")),
    ],
)
async def test_errors_on_the_submission(scene, answer, outcome):
    """F19 F21 F26 F27 F28 F29 F30 F31 F33 F35: an unproven error is Unknown.

    Only proof that nothing was sent or done is more than Unknown.
    """
    scene.answers("freepublish/submit", answer)
    assert await scene.adapter.publish(send_request()) == outcome
    assert len(scene.asked("freepublish/submit")) == 1


@pytest.mark.parametrize(
    "path", ["material/add_material", "media/uploadimg", "draft/add"]
)
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (httpx.ReadTimeout("late"), "timeout"),
        (httpx.Response(502), "server_error"),
        (httpx.Response(200, html="<h1>Login</h1>"), "wechat_unreadable"),
    ],
)
async def test_errors_before_the_submission(scene, path, answer, reason):
    """After any error of an upload or draft, the submission was not sent.

    The attempt may be repeated.
    """
    scene.answers(path, answer)
    assert await scene.adapter.publish(send_request()) == NotSent(reason=reason)
    assert not scene.asked("freepublish/submit")


async def test_a_text_answer_is_read_as_json(scene):
    """An answer is parsed by its body, regardless of its content type."""
    scene.answers(
        "freepublish/submit", httpx.Response(200, text='{"errcode":0,"publish_id":"9"}')
    )
    assert isinstance(await scene.adapter.publish(send_request()), Submitted)


@pytest.mark.parametrize("place", ["media.after_upload", "step.after_commit"])
async def test_kill_between_the_steps(scene, place):
    """F06 F07: a kill after an upload or the draft resumes from the stored state.

    There is one draft and one submission.
    """
    scene.dies_at = place
    with pytest.raises(DeathError):
        await scene.adapter.publish(send_request())
    scene.dies_at = None
    assert isinstance(await scene.adapter.publish(send_request(attempt=2)), Submitted)
    assert len(scene.asked("draft/add")) == len(scene.asked("freepublish/submit")) == 1


async def test_a_draft_whose_id_was_lost_is_found_in_the_box(scene):
    """F07: a draft without a recorded id is found by its marker on any page.

    The newest of several is used.
    """
    others = [
        item(f"D{n}", key="media_id", title="别的", content_source_url="")
        for n in range(20)
    ]
    older = item("OLDER", at=NOW - timedelta(minutes=1), key="media_id")
    scene.answers(
        "draft/batchget",
        page(*others, total=22),
        page(older, item("LOST", key="media_id"), total=22),
    )
    assert isinstance(await scene.adapter.publish(send_request(attempt=2)), Submitted)
    assert not scene.asked("draft/add")
    assert scene.bodies("draft/batchget")[1]["offset"] == 20
    assert scene.bodies("freepublish/submit") == [{"media_id": "LOST"}]
    assert scene.state.values["draft:7"] == drafted("LOST")


async def test_no_draft_is_made_while_the_box_cannot_be_read(scene):
    """F07: on a second attempt an unreadable draft box stops the attempt.

    It stops before anything is made.
    """
    scene.answers("draft/batchget", httpx.Response(502))
    assert await scene.adapter.publish(send_request(attempt=2)) == NotSent(
        reason="server_error"
    )
    assert not scene.asked("draft/add")


async def test_a_second_attempt_makes_a_draft_where_there_is_none(scene):
    """Where nothing is recorded and the box holds nothing of ours, the draft is made."""
    assert isinstance(await scene.adapter.publish(send_request(attempt=2)), Submitted)
    assert len(scene.asked("draft/add")) == 1


async def test_a_consumed_draft_is_never_made_again(scene):
    """F07 F24: a recorded draft that left the box was submitted.

    Neither a draft nor a submission follows.
    """
    scene.state.values["draft:7"] = drafted("DRAFT")
    scene.answers("draft/get", error(40007))
    assert await scene.adapter.publish(send_request(attempt=2)) == Unknown(
        reason="wechat_draft_consumed", is_duplicate=True
    )
    assert not scene.asked("draft/add")
    assert not scene.asked("freepublish/submit")


class LosingScene(WeChatScene):
    """A WeChat that removes drafts from the box on submission, and loses its answers to that."""

    def works(self):
        super().works()
        self.made = []
        self.submitted = []
        self.router.post(url__startswith=f"{BASE}/cgi-bin/draft/add").mock(
            side_effect=self._add
        )
        self.router.post(url__startswith=f"{BASE}/cgi-bin/draft/get").mock(
            side_effect=self._get
        )
        self.router.post(url__startswith=f"{BASE}/cgi-bin/draft/batchget").mock(
            side_effect=self._list
        )
        self.router.post(url__startswith=f"{BASE}/cgi-bin/freepublish/submit").mock(
            side_effect=self._submit
        )

    async def publish(self, send_request, *, dies=None, loses_note=False):
        """Publish once; die at a failpoint, before the draft's id is stored if `loses_note`."""
        self.dies_at, kept = dies, dict(self.state.values)
        if dies is None:
            return await self.adapter.publish(send_request)
        with pytest.raises(DeathError):
            await self.adapter.publish(send_request)
        self.dies_at = None
        if loses_note:
            self.state = MemoryAdapterState(kept)
        return None

    @property
    def drafts(self):
        return [draft for draft in self.made if draft not in self.submitted]

    def _add(self, _request):
        self.made.append(f"DRAFT{len(self.made) + 1}")
        return httpx.Response(200, json={"media_id": self.made[-1]})

    def _get(self, request):
        known = json.loads(request.content)["media_id"] in self.drafts
        return httpx.Response(200, json=DRAFTED if known else error(40007))

    def _list(self, _request):
        return httpx.Response(
            200, json=page(*(item(draft, key="media_id") for draft in self.drafts))
        )

    def _submit(self, request):
        self.submitted.append(json.loads(request.content)["media_id"])
        return httpx.Response(504)  # WeChat has acted, and its answer was lost


DRAFTED = {"news_item": item("")["content"]["news_item"], "update_time": 1764000000}
LOST = Unknown(reason="server_error")
TAKEN = Unknown(reason="wechat_draft_consumed", is_duplicate=True)


@pytest.fixture
def losing():
    made = LosingScene()
    made.works()
    return made


@pytest.mark.parametrize("loses_note", [False, True])
async def test_an_order_is_submitted_from_the_draft_that_still_exists_f07(
    losing, loses_note
):
    """F07: a resend order uses the draft that a crash left behind, recorded or not."""
    await losing.publish(
        send_request(), dies="step.after_commit", loses_note=loses_note
    )
    assert await losing.publish(send_request(attempt=2, resend_after_attempt=1)) == LOST
    assert losing.made == losing.submitted == ["DRAFT1"]


@pytest.mark.parametrize(
    "death",
    [
        {},
        {"dies": "step.after_commit"},
        {"dies": "step.after_commit", "loses_note": True},
    ],
)
@pytest.mark.parametrize("is_consumed", [False, True])
async def test_one_submission_for_each_order_at_every_kill_f07_f24(
    losing, is_consumed, death
):
    """F07, F24: an order leads to one submission at every kill.

    A kill between making, recording and submitting changes nothing.
    """
    first = {} if is_consumed else {"dies": "step.after_commit"}
    await losing.publish(send_request(), **first)
    before = len(losing.submitted)
    await losing.publish(send_request(attempt=2, resend_after_attempt=1), **death)
    for attempt in (3, 4):
        await losing.publish(send_request(attempt=attempt, resend_after_attempt=1))
    assert (
        await losing.publish(send_request(attempt=5, resend_after_attempt=1)) == TAKEN
    )
    assert len(losing.submitted) - before == 1
    assert len(losing.made) == len(losing.submitted)
    assert await losing.publish(send_request(attempt=6, resend_after_attempt=5)) == LOST
    assert len(losing.made) == len(losing.submitted) == before + 2


async def test_a_draft_changed_before_the_order_waits_for_a_person(scene):
    """An order does not submit a draft that somebody changed either, and no other draft is made."""
    scene.state.values["draft:7"] = drafted("DRAFT")
    scene.answers(
        "draft/get",
        {"news_item": item("", title="改过")["content"]["news_item"], "update_time": 1},
    )
    outcome = await scene.adapter.publish(
        send_request(attempt=2, resend_after_attempt=1)
    )
    assert outcome == Blocked(
        code="wechat_draft_changed", reason="DRAFT", hold_reason=HoldReason.EDITED
    )
    assert not scene.asked("draft/add")


@pytest.mark.parametrize(
    "changes",
    [
        {"title": "改过的标题"},
        {"digest": "改过的摘要"},
        {"content_source_url": "https://elsewhere.example/n/K7QM-4R2T"},
        {"content": "<p>请拨打 13800000000。</p>"},
    ],
)
@pytest.mark.parametrize("is_noted", [True, False])
async def test_a_draft_that_somebody_changed_is_not_submitted(scene, changes, is_noted):
    """A draft that differs from the approved text waits for a person, however it is found."""
    if is_noted:
        scene.state.values["draft:7"] = drafted("DRAFT")
    scene.answers("draft/batchget", page(item("DRAFT", key="media_id"), total=1))
    scene.answers(
        "draft/get",
        {"news_item": item("", **changes)["content"]["news_item"], "update_time": 1},
    )
    outcome = await scene.adapter.publish(send_request(attempt=2))
    assert outcome == Blocked(
        code="wechat_draft_changed", reason="DRAFT", hold_reason=HoldReason.EDITED
    )
    assert not scene.asked("freepublish/submit")


@pytest.mark.parametrize("code", CREDENTIALS)
async def test_a_token_refused_on_the_submission_is_renewed_for_the_next_attempt(
    scene, code
):
    """F40: a token refused on the submission is renewed once, without force.

    The attempt ends, and the next attempt submits the same draft.
    """
    scene.answers("stable_token", {"access_token": "T2", "expires_in": 7200})
    scene.answers("freepublish/submit", error(code), {"errcode": 0, "publish_id": 1})
    assert await scene.adapter.publish(send_request()) == CredentialExpired(
        reason=f"wechat_{code}"
    )
    assert [body["force_refresh"] for body in scene.bodies("stable_token")] == [False]
    assert isinstance(await scene.adapter.publish(send_request(attempt=2)), Submitted)
    assert [
        request.url.params["access_token"]
        for request in scene.asked("freepublish/submit")
    ] == ["T1", "T2"]
    assert len(scene.asked("draft/add")) == 1


async def test_a_token_refused_before_the_submission_is_renewed_at_once(scene):
    """F40 F41: a refused upload or draft call is repeated once with the new token."""
    scene.answers("stable_token", {"access_token": "T2", "expires_in": 7200})
    scene.answers("draft/add", error(42001), {"media_id": "DRAFT"})
    assert isinstance(await scene.adapter.publish(send_request()), Submitted)
    assert len(scene.asked("draft/add")) == 2
    assert scene.asked("freepublish/submit")[0].url.params["access_token"] == "T2"


async def test_force_only_where_the_refused_token_comes_back(scene):
    """F42: the token is forced once, and only because WeChat still returns the refused one."""
    scene.answers(
        "stable_token",
        {"access_token": "T1", "expires_in": 7200},
        {"access_token": "T2", "expires_in": 7200},
    )
    scene.answers("draft/add", error(40001), {"media_id": "DRAFT"})
    assert isinstance(await scene.adapter.publish(send_request()), Submitted)
    assert [body["force_refresh"] for body in scene.bodies("stable_token")] == [
        False,
        True,
    ]


async def test_a_token_that_stays_refused_ends_the_attempt(scene):
    """F43: where even a forced token is the refused one, the login counts as refused.

    No call is repeated.
    """
    scene.answers("draft/add", error(40001))
    assert await scene.adapter.publish(send_request()) == CredentialExpired(
        reason="wechat_no_token"
    )
    assert len(scene.asked("draft/add")) == 1


async def test_a_contested_token_is_not_renewed_for_ever(scene):
    """F42: after two renewals within five minutes the third is refused, and allowed again later."""
    scene.answers(
        "stable_token",
        *({"access_token": f"T{number}", "expires_in": 7200} for number in range(2, 6)),
    )
    scene.answers("freepublish/submit", error(40001))
    outcomes = [
        await scene.adapter.publish(send_request(attempt=number)) for number in (1, 2)
    ]
    assert outcomes == [CredentialExpired(reason="wechat_40001")] * 2
    scene.answers("draft/get", error(40001))
    assert await scene.adapter.publish(send_request(attempt=3)) == CredentialExpired(
        reason="wechat_token_contested"
    )
    assert len(scene.asked("stable_token")) == 2
    scene.now = NOW + timedelta(minutes=6)
    await scene.adapter.publish(send_request(attempt=4))
    assert len(scene.asked("stable_token")) == 4, (
        "one instead of the token that was given up, one for its renewal"
    )


async def test_three_processes_with_one_refused_token_count_as_one(scene):
    """F42: hosts that share a login and are refused the same expired token count as one.

    None of them takes that for a contest.
    """
    scene.answers("stable_token", {"access_token": "T2", "expires_in": 7200})
    scene.answers("freepublish/batchget", *[error(40001), page()] * 3)
    for _host in range(3):
        scene.tokens = Tokens("T1")
        assert await scene.adapter.list_recent() == ()
    assert [body["force_refresh"] for body in scene.bodies("stable_token")] == [
        False
    ] * 3


async def test_a_renewal_that_another_process_forces_is_waited_for(scene):
    """F42 F11: while another process forces a renewal none is forced.

    After half a minute the next process may force one.
    """
    first, second = (
        {"access_token": name, "expires_in": 7200} for name in ("T1", "T2")
    )
    scene.answers(
        "draft/add", error(40001), error(40001), error(40001), {"media_id": "DRAFT"}
    )
    scene.answers("stable_token", first, second, first, first, second)
    scene.dies_at = "token.after_refresh"
    with pytest.raises(DeathError):
        await scene.adapter.publish(send_request())
    scene.dies_at, scene.tokens = None, Tokens("T1")
    outcome = await scene.adapter.publish(send_request(attempt=2))
    assert outcome == Busy(
        code="wechat_token_renewed_elsewhere", reason="beijing-wechat"
    )
    scene.now, scene.tokens = NOW + timedelta(seconds=31), Tokens("T1")
    assert isinstance(await scene.adapter.publish(send_request(attempt=3)), Submitted)
    assert [body["force_refresh"] for body in scene.bodies("stable_token")] == [
        False,
        True,
        False,
        False,
        True,
    ]


async def test_no_third_renewal_is_forced_within_five_minutes(scene):
    """F42: however many processes ask, at most two renewals are forced; then a person must act."""
    scene.answers("stable_token", {"access_token": "T1", "expires_in": 7200})
    scene.answers("draft/add", error(40001))
    outcomes = []
    for number in range(6):
        scene.now, scene.tokens = NOW + timedelta(seconds=40 * number), Tokens("T1")
        outcomes.append(await scene.adapter.publish(send_request(attempt=number + 1)))
    assert [body["force_refresh"] for body in scene.bodies("stable_token")].count(
        True
    ) == 2
    assert outcomes[2:] == [CredentialExpired(reason="wechat_token_contested")] * 4


async def test_a_token_refused_on_the_submission_while_another_process_renews_it(scene):
    """F42: the attempt did nothing and is tried again later, not at once with the same token."""
    scene.answers("freepublish/submit", error(40001))
    scene.state.values["token:forced"] = json.dumps([NOW.timestamp()])
    outcome = await scene.adapter.publish(send_request())
    assert outcome == Busy(
        code="wechat_token_renewed_elsewhere", reason="beijing-wechat"
    )


@pytest.mark.parametrize("times", range(8))
async def test_credentials_that_vanish_during_an_attempt(scene, times):
    """F43: a secret that is removed during an attempt ends it as a refused login.

    It is never Unknown.
    """
    whole, scene.tokens = scene.secret, Tokens()
    secrets = iter([whole] * times)
    scene.reads_secret = lambda: next(secrets, {})
    scene.answers("freepublish/submit", error(40001))
    assert isinstance(await scene.adapter.publish(send_request()), CredentialExpired)


async def test_another_worker_renewed_the_token_already(scene):
    """F42: a token that another worker has replaced meanwhile is used.

    WeChat is not asked again.
    """
    taken = iter(["T1"])

    class SlowToken(Tokens):
        async def current(self):
            return next(taken, self.value)

    scene.tokens = SlowToken("T2")
    scene.answers("draft/add", error(42001), {"media_id": "DRAFT"})
    scene.state.values.update(
        {
            f"cover:{picture(COVER).sha256}": "C",
            f"image:{picture(INSIDE).sha256}": "http://m",
        }
    )
    assert isinstance(await scene.adapter.publish(send_request()), Submitted)
    assert not scene.asked("stable_token")


async def test_kill_after_a_token_came(scene):
    """F11: a token that was never saved is fetched again; nothing else was done."""
    scene.tokens, scene.dies_at = Tokens(), "token.after_refresh"
    with pytest.raises(DeathError):
        await scene.adapter.publish(send_request())
    scene.dies_at = None
    assert isinstance(await scene.adapter.publish(send_request()), Submitted)
    assert len(scene.asked("stable_token")) == 2


@pytest.mark.parametrize("code", EXPECTED)
async def test_each_code_on_the_sign_in(scene, code):
    """F43 F50: a refused token call has its meaning from the table, and no draft is made."""
    scene.tokens = Tokens()
    scene.answers("stable_token", error(code))
    assert await scene.adapter.publish(send_request()) == _expected_before(code)
    assert not scene.asked("draft/add")


async def test_the_address_to_allow_is_reported(scene):
    """F50: WeChat's message with the address to add is kept for people."""
    scene.tokens = Tokens()
    scene.answers(
        "stable_token",
        error(40164, "invalid ip 203.0.113.9, not in whitelist rid: 6655aa01-1-2"),
    )
    outcome = await scene.adapter.publish(send_request())
    assert isinstance(outcome, Blocked)
    assert "203.0.113.9" in outcome.reason


async def test_credentials_of_another_account_are_not_used(scene):
    """F38: a secret with another AppID than the account's holds the delivery before any call."""
    scene.secret = {"app_id": f"{APP_ID}9", "app_secret": "x"}
    outcome = await scene.adapter.publish(send_request())
    assert isinstance(outcome, Blocked)
    assert outcome.hold_reason is HoldReason.WRONG_SECRET
    assert not scene.router.calls


@pytest.mark.parametrize("missing", ["app_id", "app_secret"])
async def test_a_secret_that_lacks_a_part(scene, missing):
    """F43: an incomplete secret is a login that does not work, reported before any call."""
    del scene.secret[missing]
    scene.tokens = Tokens(None)
    assert await scene.adapter.publish(send_request()) == CredentialExpired(
        reason="wechat_no_secret"
    )
    assert await scene.adapter.check_health() == CredentialExpired(
        reason="wechat_no_secret"
    )
    assert not scene.router.calls


async def test_no_call_after_the_lease(scene):
    """F15: a request with an expired lease is not submitted."""
    assert await scene.adapter.publish(send_request(start_by=-1.0)) == NotSent(
        reason="lease_used_up"
    )


def test_the_day_ends_in_beijing():
    """The next midnight is Beijing's, in any time zone."""
    assert get_next_midnight(datetime(2026, 11, 25, 15, 59, 59, tzinfo=UTC)) == MIDNIGHT
    assert get_next_midnight(MIDNIGHT) == MIDNIGHT + timedelta(days=1)
