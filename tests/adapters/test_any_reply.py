"""An adapter's decoders return a value for every answer: an exception would hide the answer."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.tieba import adapter as metrics
from adapters.tieba import api as tieba
from adapters.tieba import post_list, replies, session
from adapters.tieba.adapter import interpret_deletion
from adapters.weibo import api as weibo_wire
from adapters.weibo import oauth as weibo_sign_in
from adapters.weibo import post_list as timeline
from adapters.weibo import post_list as weibo
from publisher.contract import HttpResponse
from publisher.domain.characters import is_storable
from publisher.domain.post import Baseline, Marker
from publisher.domain.results import NotFound, Published, Ticket, Unknown
from publisher.engine.calls import clean_result
from publisher.store.db.tables import dump_result

NOW = datetime(2026, 11, 24, 4, tzinfo=UTC)
KEYS = st.sampled_from(
    [
        "error_code",
        "err_code",
        "no",
        "error",
        "error_msg",
        "id",
        "idstr",
        "mid",
        "user",
        "uid",
        "appkey",
        "expire_in",
        "statuses",
        "total_number",
        "created_at",
        "text",
        "url_objects",
        "url_ori",
        "data",
        "list",
        "has_more",
        "thread_info",
        "tid",
        "fid",
        "create_time",
        "title",
        "abstract",
        "author",
        "portrait",
        "info",
        "need_vcode",
        "vcode",
        "confilter_hitwords",
        "thread",
        "first_floor",
        "content",
        "is_deleted",
        "is_login",
        "tbs",
        "picId",
        "anti",
        "user",
        "block_stat",
        "view_num",
        "agree",
        "private",
        "post_list",
        "page",
        "pid",
        "time",
        "user_list",
        "author_id",
    ]
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers().map(str)
    | st.just(10**19)
    | st.just("²")
    | st.floats(allow_nan=False)
    | st.text(max_size=12)
    | st.just("…\ud83d")
    | st.just("…\0"),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=6)
    ),
    max_leaves=20,
)
BODIES = VALUES.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=40)
REPLIES = st.builds(
    HttpResponse,
    status=st.sampled_from([200, 302, 400, 403, 429, 500]),
    headers=st.just({}),
    body=BODIES,
)
BASELINE = Baseline(newest_id=None, taken_at=NOW)
MARKER = Marker(code="K7QM-4R2T")
REPLY_CRITERIA = replies.ReplyMatchCriteria(
    tid="1", marker=MARKER, since=NOW, pid="2", text="余下的话"
)


def require_storable(result):
    """Fail if the core could not store an adapter's result for a reply."""
    assert is_storable(dump_result(clean_result(result))["detail"])


@pytest.mark.long
@given(REPLIES)
def test_weibo_decoders_never_raise(reply):
    """No JSON, valid or not, makes a Weibo decoder raise.

    No reply without an id and an owner counts as published.
    """
    outcome = weibo_wire.decode_created(reply, "1404376560", Ticket(payload="x"), NOW)
    assert not isinstance(outcome, Published) or b"1404376560" in reply.body
    require_storable(outcome)
    assert not isinstance(
        weibo_wire.decode_article(reply, Ticket(payload="x"), NOW), Published
    )
    weibo_wire.decode_picture(reply, NOW)
    weibo_sign_in.decode_token_grant(reply)
    weibo.decode_counts(reply, ["1"])
    require_storable(weibo.decode_show(reply, "1404376560"))
    require_storable(weibo.decode_destroy(reply, "1"))
    weibo.decode_token_info(reply, "1404376560", "1", NOW)
    listed = weibo.decode_timeline(reply, "1404376560")
    if isinstance(listed, weibo.WeiboPostList):
        timeline.interpret_timeline(
            listed,
            weibo_wire.WeiboMatchCriteria(marker=MARKER, baseline=BASELINE),
            "1404376560",
            5,
        )


@given(REPLIES)
def test_tieba_decoders_never_raise(reply):
    """No JSON, valid or not, makes a Tieba decoder raise, and an empty list is never absence."""
    tieba.decode_session(reply)
    tieba.decode_forum(reply)
    tieba.decode_upload(reply, NOW)
    tieba.decode_created(reply, "tid", Ticket(payload="x"), NOW)
    created = replies.decode_reply(reply, REPLY_CRITERIA, NOW)
    if not isinstance(created, tieba.CreatedPost):
        require_storable(created)
    require_storable(interpret_deletion(reply))
    asked = post_list.ThreadQuery(tid="1", marker=MARKER, identity="tb.1.x")
    post_list.interpret_page(reply, asked, NOW)
    page = replies.decode_replies(reply, asked)
    if not isinstance(page, Unknown):
        replies.interpret_replies([page], REPLY_CRITERIA, NOW)
    metrics.decode_reach(reply, asked)
    session.decode_account_status(reply, "tb.1.x")
    listed = post_list.decode_own_threads(reply, "tb.1.x")
    if isinstance(listed, post_list.TiebaThreadList):
        finding = post_list.interpret_thread_list(
            listed,
            post_list.ThreadMatchCriteria(marker=MARKER, baseline=BASELINE),
            1,
            NOW,
        )
        assert listed.items or not isinstance(finding, NotFound)
        metrics.to_observed_posts(listed, 1)
