"""Whatever a platform answers, an adapter's decoders give a value: an exception there would hide the answer."""

import json
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from adapters.tieba import floors, reach, reading, standing
from adapters.tieba import wire as tieba
from adapters.tieba.client import _removed
from adapters.weibo import reading as weibo
from adapters.weibo import sign_in as weibo_sign_in
from adapters.weibo import timeline
from adapters.weibo import wire as weibo_wire
from publisher.contract import Reply
from publisher.domain.outcome import Missing, Published, Ticket, Unknown
from publisher.domain.rendition import Baseline, Marker

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
    | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=6),
    max_leaves=20,
)
BODIES = VALUES.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=40)
REPLIES = st.builds(Reply, status=st.sampled_from([200, 302, 400, 403, 429, 500]), headers=st.just({}), body=BODIES)
BASELINE = Baseline(newest_id=None, since=NOW)
MARKER = Marker(code="K7QM-4R2T")
FLOOR = floors.FloorTrace(tid="1", marker=MARKER, since=NOW, pid="2", words="余下的话")


@given(REPLIES)
def test_weibo_decoders_never_raise(reply):
    """No JSON, well-meant or not, makes a Weibo decoder raise, and none without id and owner counts as published."""
    outcome = weibo_wire.decode_created(reply, "1404376560", Ticket(number="x"), NOW)
    assert not isinstance(outcome, Published) or b"1404376560" in reply.body
    assert not isinstance(weibo_wire.decode_article(reply, Ticket(number="x"), NOW), Published)
    weibo_wire.decode_picture(reply, NOW)
    weibo_sign_in.decode_grant(reply)
    weibo.decode_counts(reply, ["1"])
    weibo.decode_show(reply, "1404376560")
    weibo.decode_destroy(reply, "1")
    weibo.decode_token_info(reply, "1404376560", "1", NOW)
    listed = weibo.decode_timeline(reply, "1404376560")
    if isinstance(listed, weibo.Timeline):
        timeline.judge(listed, timeline.Trace(marker=MARKER, baseline=BASELINE), "1404376560", 5)


@given(REPLIES)
def test_tieba_decoders_never_raise(reply):
    """No JSON, well-meant or not, makes a Tieba decoder raise, and an empty list is never absence."""
    tieba.decode_session(reply)
    tieba.decode_forum(reply)
    tieba.decode_upload(reply, NOW)
    tieba.decode_created(reply, "tid", Ticket(number="x"), NOW)
    floors.decode_reply(reply, FLOOR, NOW)
    _removed(reply)
    asked = reading.Asked(tid="1", marker=MARKER, identity="tb.1.x")
    reading.decode_page(reply, asked, NOW)
    page = floors.decode_floors(reply, asked)
    if not isinstance(page, Unknown):
        floors.judge_floors([page], FLOOR, NOW)
    reach.decode_reach(reply, asked)
    standing.decode_standing(reply, "tb.1.x")
    listed = reading.decode_own_threads(reply, "tb.1.x")
    if isinstance(listed, reading.Listing):
        finding = reading.judge(listed, reading.Trace(marker=MARKER, baseline=BASELINE), 1, NOW)
        assert listed.items or not isinstance(finding, Missing)
        reach.sightings(listed, 1)
