"""Field numbers of the app's messages, and which call carries which.

They are those of the official app's message set (n0099/tbclient.protobuf, August 2024) and of what aiotieba 4.7.1 and
4.8.2 send and read; both were read on 2026-11-24. Only what the simulator sends or reads is named.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from .protobuf import Shape

COMMON: Shape = {
    "_client_type": 1,
    "_client_version": 2,
    "_client_id": 3,
    "_phone_imei": 5,
    "BDUSS": 10,
    "tbs": 11,
    "stoken": 30,
    "z_id": 31,
    "cuid_galaxy2": 32,
}
ERROR: Shape = {"errorno": 1, "errmsg": 2, "usermsg": 3}
USER: Shape = {
    "id": 2,
    "name": 3,
    "name_show": 4,
    "portrait": 5,
    "level_id": 23,
    "my_like_num": 33,
    "post_num": 37,
    "gender": 42,
    "thread_num": 87,
    "tieba_uid": 120,
}
AGREE: Shape = {"agree_num": 1, "disagree_num": 4}
CONTENT: Shape = {
    "type": 1,
    "text": 2,
    "link": 3,
    "src": 4,
    "bsize": 5,
    "cdn_src": 8,
    "big_cdn_src": 9,
    "c": 11,
    "uid": 15,
    "origin_src": 25,
    "origin_size": 27,
    "portrait": 49,
}
PAGE: Shape = {"page_size": 1, "current_page": 3, "total_count": 4, "total_page": 5, "has_more": 6, "has_prev": 7}
ORIGIN: Shape = {"title": 1, "fname": 4, "tid": 5, "fid": 7, "content": (14, CONTENT)}
THREAD: Shape = {
    "id": 1,
    "title": 3,
    "reply_num": 4,
    "view_num": 5,
    "last_time_int": 7,
    "is_top": 9,
    "is_good": 10,
    "author": (18, USER),
    "thread_type": 26,
    "fid": 27,
    "fname": 28,
    "first_post_id": 40,
    "create_time": 45,
    "post_id": 52,
    "author_id": 56,
    "agree": (126, AGREE),
    "share_num": 135,
    "origin_thread_info": (141, ORIGIN),
    "first_post_content": (142, CONTENT),
    "is_deleted": 181,
    "is_frs_mask": 198,
}
ANSWER: Shape = {"id": 1, "content": (2, CONTENT), "time": 3, "author_id": 4, "author": (7, USER), "agree": (9, AGREE)}
"""An answer to a floor."""
FLOOR: Shape = {
    "id": 1,
    "floor": 3,
    "time": 4,
    "content": (5, CONTENT),
    "sub_post_number": 13,
    "sub_post_list": (15, {"sub_post_list": (2, ANSWER)}),
    "author_id": 19,
    "author": (23, USER),
    "agree": (37, AGREE),
    "tid": 46,
}
STANDING: Shape = {"block_stat": 6, "hide_stat": 7, "vcode_stat": 8, "days_tofree": 9, "has_chance": 10}
CAPTCHA: Shape = {
    "confilter_hitwords": 2,
    "need_vcode": 3,
    "vcode_md5": 4,
    "vcode_type": 6,
    "block_content": 8,
    "vcode_pic_url": 12,
}
ADDED: Shape = {"opgroup": 1, "tid": 2, "pid": 3, "msg": 5, "info": (14, CAPTCHA), "anti_stat": (15, STANDING)}
SAID: Shape = {"post_content": (1, {"type": 1, "text": 2}), "create_time": 2, "post_type": 3, "post_id": 4}
OWN: Shape = {
    "forum_id": 1,
    "thread_id": 2,
    "post_id": 3,
    "create_time": 5,
    "forum_name": 6,
    "title": 7,
    "content": (8, SAID),
    "user_name": 10,
    "reply_num": 17,
    "user_id": 18,
    "user_portrait": 19,
    "thread_type": 26,
    "freq_num": 33,
    "name_show": 35,
    "share_num": 39,
    "agree": (40, AGREE),
    "first_post_content": (49, CONTENT),
}
FORUM: Shape = {"id": 1, "name": 2, "member_num": 9, "thread_num": 10, "post_num": 11}
SIMPLE_FORUM: Shape = {"id": 1, "name": 2, "member_num": 12, "post_num": 13}


@dataclass(frozen=True, slots=True)
class Message:
    """One call in Protocol Buffers: its number, and the `data` of its request and of its answer."""

    cmd: str
    request: Shape
    answer: Shape


MESSAGES: Mapping[str, Message] = {
    "/c/c/post/add": Message(
        "309731",
        {
            "common": (1, COMMON),
            "anonymous": 6,
            "vcode": 13,
            "vcode_md5": 14,
            "vcode_tag": 16,
            "new_vcode": 18,
            "content": 19,
            "reply_uid": 20,
            "fid": 26,
            "kw": 30,
            "tid": 45,
            "quote_id": 46,
            "floor_num": 48,
            "repostid": 49,
            "sub_post_id": 50,
            "is_pictxt": 60,
        },
        ADDED,
    ),
    "/c/f/frs/page": Message(
        "301001",
        {"kw": 1, "rn": 2, "rn_need": 3, "is_good": 4, "pn": 15, "common": (39, COMMON), "sort_type": 47},
        {"forum": (2, FORUM), "page": (4, PAGE), "thread_list": (7, THREAD), "user_list": (17, USER)},
    ),
    "/c/f/pb/page": Message(
        "302001",
        {"kz": 4, "lz": 5, "r": 6, "with_floor": 8, "floor_rn": 9, "rn": 13, "pn": 18, "common": (25, COMMON)},
        {
            "forum": (2, SIMPLE_FORUM),
            "page": (3, PAGE),
            "post_list": (6, FLOOR),
            "thread": (8, THREAD),
            "user_list": (13, USER),
            "thread_freq_num": 37,
        },
    ),
    "/c/f/pb/floor": Message(
        "302002",
        {"kz": 1, "pid": 2, "spid": 3, "pn": 4, "common": (9, COMMON), "sort": 19},
        {
            "page": (1, PAGE),
            "post": (3, FLOOR),
            "subpost_list": (4, ANSWER),
            "thread": (5, THREAD),
            "forum": (6, SIMPLE_FORUM),
        },
    ),
    "/c/u/feed/userpost": Message(
        "303002",
        {"uid": 1, "rn": 2, "is_thread": 4, "need_content": 5, "pn": 26, "common": (27, COMMON), "is_view_card": 33},
        {"post_list": (1, OWN)},
    ),
    "/c/u/user/profile": Message(
        "303012",
        {"uid": 1, "need_post_count": 2, "pn": 6, "common": (9, COMMON), "friend_uid_portrait": 16},
        {"user": (1, USER), "anti_stat": (2, STANDING), "post_list": (4, OWN)},
    ),
}
