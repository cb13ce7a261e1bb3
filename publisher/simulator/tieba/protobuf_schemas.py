"""Field numbers of the app's messages, and the messages of each call.

They come from the official app's messages (n0099/tbclient.protobuf, August 2024) and from the
fields that aiotieba 4.7.1 and 4.8.2 send and read. Both were read on 2026-11-24. Only fields that
the simulator sends or reads are named.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from .protobuf import MessageSchema

COMMON_SCHEMA: MessageSchema = {"BDUSS": 10, "tbs": 11}
ERROR_SCHEMA: MessageSchema = {"errorno": 1, "errmsg": 2, "usermsg": 3}
USER_SCHEMA: MessageSchema = {
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
AGREE_SCHEMA: MessageSchema = {"agree_num": 1, "disagree_num": 4}
CONTENT_SCHEMA: MessageSchema = {
    "type": 1,
    "text": 2,
    "src": 4,
    "bsize": 5,
    "cdn_src": 8,
    "big_cdn_src": 9,
    "origin_src": 25,
    "origin_size": 27,
}
PAGE_SCHEMA: MessageSchema = {
    "page_size": 1,
    "current_page": 3,
    "total_count": 4,
    "total_page": 5,
    "has_more": 6,
    "has_prev": 7,
}
ORIGIN_SCHEMA: MessageSchema = {
    "title": 1,
    "fname": 4,
    "tid": 5,
    "fid": 7,
    "content": (14, CONTENT_SCHEMA),
}
THREAD_SCHEMA: MessageSchema = {
    "id": 1,
    "title": 3,
    "reply_num": 4,
    "view_num": 5,
    "last_time_int": 7,
    "is_top": 9,
    "is_good": 10,
    "author": (18, USER_SCHEMA),
    "thread_type": 26,
    "fid": 27,
    "fname": 28,
    "first_post_id": 40,
    "create_time": 45,
    "post_id": 52,
    "author_id": 56,
    "agree": (126, AGREE_SCHEMA),
    "share_num": 135,
    "origin_thread_info": (141, ORIGIN_SCHEMA),
    "first_post_content": (142, CONTENT_SCHEMA),
    "is_deleted": 181,
    "is_frs_mask": 198,
}
COMMENT_SCHEMA: MessageSchema = {
    "id": 1,
    "content": (2, CONTENT_SCHEMA),
    "time": 3,
    "author_id": 4,
    "author": (7, USER_SCHEMA),
    "agree": (9, AGREE_SCHEMA),
}
"""A comment on a reply."""
REPLY_SCHEMA: MessageSchema = {
    "id": 1,
    "floor": 3,
    "time": 4,
    "content": (5, CONTENT_SCHEMA),
    "sub_post_number": 13,
    "sub_post_list": (15, {"sub_post_list": (2, COMMENT_SCHEMA)}),
    "author_id": 19,
    "author": (23, USER_SCHEMA),
    "agree": (37, AGREE_SCHEMA),
    "tid": 46,
}
RESTRICTIONS_SCHEMA: MessageSchema = {
    "block_stat": 6,
    "hide_stat": 7,
    "vcode_stat": 8,
    "days_tofree": 9,
    "has_chance": 10,
}
CAPTCHA_SCHEMA: MessageSchema = {
    "confilter_hitwords": 2,
    "need_vcode": 3,
    "vcode_md5": 4,
    "vcode_type": 6,
    "vcode_pic_url": 12,
}
CREATED_SCHEMA: MessageSchema = {
    "opgroup": 1,
    "tid": 2,
    "pid": 3,
    "msg": 5,
    "info": (14, CAPTCHA_SCHEMA),
    "anti_stat": (15, RESTRICTIONS_SCHEMA),
}
USER_REPLY_SCHEMA: MessageSchema = {
    "post_content": (1, {"type": 1, "text": 2}),
    "create_time": 2,
    "post_type": 3,
    "post_id": 4,
}
USER_POST_SCHEMA: MessageSchema = {
    "forum_id": 1,
    "thread_id": 2,
    "post_id": 3,
    "create_time": 5,
    "forum_name": 6,
    "title": 7,
    "content": (8, USER_REPLY_SCHEMA),
    "user_name": 10,
    "reply_num": 17,
    "user_id": 18,
    "user_portrait": 19,
    "freq_num": 33,
    "name_show": 35,
    "share_num": 39,
    "agree": (40, AGREE_SCHEMA),
    "first_post_content": (49, CONTENT_SCHEMA),
}
FORUM_SCHEMA: MessageSchema = {
    "id": 1,
    "name": 2,
    "member_num": 9,
    "thread_num": 10,
    "post_num": 11,
}
SIMPLE_FORUM_SCHEMA: MessageSchema = {
    "id": 1,
    "name": 2,
    "member_num": 12,
    "post_num": 13,
}


@dataclass(frozen=True, slots=True)
class MessageType:
    """One call in Protocol Buffers.

    It has the `cmd` number, and the `data` of its request and response.
    """

    cmd: str
    request: MessageSchema
    response: MessageSchema


MESSAGE_TYPES: Mapping[str, MessageType] = {
    "/c/c/post/add": MessageType(
        "309731",
        {
            "common": (1, COMMON_SCHEMA),
            "content": 19,
            "fid": 26,
            "kw": 30,
            "tid": 45,
            "quote_id": 46,
        },
        CREATED_SCHEMA,
    ),
    "/c/f/frs/page": MessageType(
        "301001",
        {"kw": 1, "rn": 2, "pn": 15, "common": (39, COMMON_SCHEMA)},
        {
            "forum": (2, FORUM_SCHEMA),
            "page": (4, PAGE_SCHEMA),
            "thread_list": (7, THREAD_SCHEMA),
            "user_list": (17, USER_SCHEMA),
        },
    ),
    "/c/f/pb/page": MessageType(
        "302001",
        {
            "kz": 4,
            "lz": 5,
            "with_floor": 8,
            "floor_rn": 9,
            "rn": 13,
            "pn": 18,
            "common": (25, COMMON_SCHEMA),
        },
        {
            "forum": (2, SIMPLE_FORUM_SCHEMA),
            "page": (3, PAGE_SCHEMA),
            "post_list": (6, REPLY_SCHEMA),
            "thread": (8, THREAD_SCHEMA),
            "user_list": (13, USER_SCHEMA),
            "thread_freq_num": 37,
        },
    ),
    "/c/f/pb/floor": MessageType(
        "302002",
        {"kz": 1, "pid": 2, "spid": 3, "pn": 4, "common": (9, COMMON_SCHEMA)},
        {
            "page": (1, PAGE_SCHEMA),
            "post": (3, REPLY_SCHEMA),
            "subpost_list": (4, COMMENT_SCHEMA),
            "thread": (5, THREAD_SCHEMA),
            "forum": (6, SIMPLE_FORUM_SCHEMA),
        },
    ),
    "/c/u/feed/userpost": MessageType(
        "303002",
        {"uid": 1, "rn": 2, "is_thread": 4, "pn": 26, "common": (27, COMMON_SCHEMA)},
        {"post_list": (1, USER_POST_SCHEMA)},
    ),
    "/c/u/user/profile": MessageType(
        "303012",
        {"uid": 1, "common": (9, COMMON_SCHEMA), "friend_uid_portrait": 16},
        {"user": (1, USER_SCHEMA), "anti_stat": (2, RESTRICTIONS_SCHEMA)},
    ),
}
