"""Sina Weibo's open platform: the calls of an ordinary app, and those that need a grant."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from publisher.simulator.platform import Platform
from publisher.simulator.request import ApiRequest, ApiResponse
from publisher.simulator.state import SimulatedPost, SimulatorState

from .apps import make_secret
from .ids import PostIdGenerator, encode_bid
from .oauth import WeiboOAuthApi, render_code_page
from .post import CREATE_ENDPOINTS, WeiboPostWriter
from .quotas import WeiboQuotas, get_resource_name
from .responses import ARTICLE_PATH, refuse
from .sign_in import SimulatedWeiboAuth
from .text import shorten_links
from .timeline import WeiboTimelineApi
from .tokens import WeiboTokens

ID_KEYS = frozenset({"id", "idstr", "mid", "pic_id", "object_id", "url", "access_token"})
ERROR_DETAILS = {10007: "json", 10016: "status", 10017: "status"}
"""The detail in the text of an error that a fault causes; for other codes it is the name of the call."""
Endpoint = Callable[[ApiRequest], ApiResponse]


def create_platform(state: SimulatorState) -> Platform:
    tokens, post_ids = WeiboTokens(state), PostIdGenerator(state)
    auth = SimulatedWeiboAuth(state, tokens, WeiboQuotas(state))
    writer = WeiboPostWriter(state, auth, post_ids)

    def refuse_call(request: ApiRequest, code: int, message: str | None = None) -> ApiResponse:
        return refuse(request, code, ERROR_DETAILS.get(code, "") or get_resource_name(request), message)

    def make_external_post(fields: Mapping[str, Any]) -> SimulatedPost:
        now = state.now()
        sent = str(fields.get("text") or "")
        text, links = shorten_links(sent)
        extra = {"by_hand": True, "sent": sent, "url_objects": links}
        return SimulatedPost(post_ids.next(now), "weibo", str(fields["account"]), now, text, extra=extra)

    oauth, timeline = WeiboOAuthApi(state, auth, tokens), WeiboTimelineApi(state, auth)
    endpoints: dict[str, Endpoint] = {
        "/oauth2/authorize": oauth.authorize,
        "/oauth2/default.html": render_code_page,
        "/oauth2/access_token": oauth.access_token,
        "/oauth2/get_token_info": oauth.token_info,
        "/oauth2/revokeoauth2": oauth.revoke,
        "/2/account/rate_limit_status.json": auth.show_rate_limit,
        **{path: partial(writer.handle, endpoint=endpoint) for path, endpoint in CREATE_ENDPOINTS.items()},
        "/2/statuses/upload_pic/biz.json": writer.upload_picture,
        ARTICLE_PATH: writer.publish_article,
        "/2/statuses/user_timeline.json": timeline.timeline,
        "/2/statuses/user_timeline/biz.json": timeline.business_timeline,
        "/2/statuses/show.json": timeline.show,
        "/2/statuses/destroy.json": timeline.destroy,
        "/2/statuses/destroy/biz.json": timeline.business_destroy,
        "/2/statuses/count.json": timeline.counts,
        "/2/statuses/count/biz.json": timeline.business_counts,
    }
    return Platform(
        name="weibo",
        endpoints=endpoints,
        identify_caller=auth.identify_caller,
        refuse=lambda request, code, message: refuse_call(request, int(code), message),
        refuse_unknown=lambda request: refuse_call(request, 10020),
        expire_token=lambda request: refuse_call(request, 21327),
        fault_codes={"duplicate": "20019", "captcha": "20031"},
        id_keys=ID_KEYS,
        make_external_post=make_external_post,
        get_public_url=lambda post: f"https://weibo.com/{post.account}/{encode_bid(post.id)}",
        make_secret=make_secret,
        delayed_success_codes=frozenset({"20032"}),
    )
