"""Sina Weibo's open platform: the calls of an ordinary app, and the ones that need a grant."""

import hashlib
from collections.abc import Mapping
from functools import partial
from typing import Any

from publisher.simulator.platform import Handler, Platform
from publisher.simulator.request import ApiRequest, ApiResponse
from publisher.simulator.state import SimulatedPost, SimulatorState

from . import oauth, post, timeline
from .auth import TOKEN_EXPIRED, get_resource_name, identify_caller, show_rate_limit
from .responses import ARTICLE_PATH, encode_bid, make_post_id, refuse
from .text import shorten_links

ERROR_DETAILS = {"10007": "json", "10016": "status", "10017": "status"}
"""The detail in the text of an error that a fault causes.

For other codes it is the name of the call.
"""
ENDPOINTS: Mapping[str, Handler] = {
    "/oauth2/authorize": oauth.authorize,
    "/oauth2/default.html": oauth.show_code_page,
    "/oauth2/access_token": oauth.exchange_code,
    "/oauth2/get_token_info": oauth.show_token,
    "/oauth2/revokeoauth2": oauth.revoke_token,
    "/2/account/rate_limit_status.json": show_rate_limit,
    **{
        path: partial(post.create_post, endpoint=endpoint)
        for path, endpoint in post.CREATE_ENDPOINTS.items()
    },
    "/2/statuses/upload_pic/biz.json": post.upload_picture,
    ARTICLE_PATH: post.publish_article,
    "/2/statuses/user_timeline.json": timeline.list_posts,
    "/2/statuses/user_timeline/biz.json": timeline.list_posts,
    "/2/statuses/show.json": timeline.show_post,
    "/2/statuses/destroy.json": timeline.delete_post,
    "/2/statuses/destroy/biz.json": timeline.delete_post,
    "/2/statuses/count.json": timeline.show_counts,
    "/2/statuses/count/biz.json": timeline.show_counts,
}


def make_secret(identity: str) -> dict[str, str]:
    digest = hashlib.sha512(f"weibo/{identity}".encode()).hexdigest()
    return {
        "app_key": str(1_000_000_000 + int(digest[:7], 16)),
        "app_secret": digest[8:40],
        "access_token": f"2.00{digest[40:68]}",
    }


def make_external_post(
    state: SimulatorState, fields: Mapping[str, Any]
) -> SimulatedPost:
    now = state.now()
    sent = str(fields.get("text") or "")
    text, links = shorten_links(sent)
    extra = {"by_hand": True, "sent": sent, "url_objects": links}
    return SimulatedPost(
        make_post_id(state, now),
        "weibo",
        str(fields["account"]),
        now,
        text,
        extra=extra,
    )


def refuse_by_fault(request: ApiRequest, code: str, message: str | None) -> ApiResponse:
    return refuse(
        request,
        int(code),
        ERROR_DETAILS.get(code, "") or get_resource_name(request),
        message,
    )


PLATFORM = Platform(
    name="weibo",
    endpoints=ENDPOINTS,
    identify_caller=identify_caller,
    refuse=refuse_by_fault,
    unknown_endpoint_code="10020",
    expire_token=lambda _state, request: refuse(request, TOKEN_EXPIRED),
    fault_codes={"duplicate": "20019", "captcha": "20031"},
    id_keys=frozenset(
        {"id", "idstr", "mid", "pic_id", "object_id", "url", "access_token"}
    ),
    make_external_post=make_external_post,
    get_public_url=lambda post: (
        f"https://weibo.com/{post.account}/{encode_bid(post.id)}"
    ),
    make_secret=make_secret,
    delayed_success_codes=frozenset({"20032", "20053"}),
)
