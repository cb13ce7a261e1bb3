"""Sina Weibo's open platform: what an ordinary app may, and what is granted to the few."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from publisher.simulator.log import to_json
from publisher.simulator.platform import Platform
from publisher.simulator.request import ApiRequest, ApiResponse
from publisher.simulator.state import SimulatedPost, SimulatorState

from .apps import make_secret
from .article import ArticleEndpoint
from .ids import PostIdGenerator, encode_bid
from .metrics import WeiboMetricsApi
from .oauth import WeiboOAuthApi
from .pictures import UploadPictureEndpoint
from .post import CREATE_ENDPOINTS, WeiboPostWriter
from .quotas import WeiboQuotas, get_resource_name
from .responses import ARTICLE_PATH, refuse
from .sign_in import SimulatedWeiboAuth
from .text import shorten_links
from .timeline import WeiboTimelineApi
from .tokens import WeiboTokens

ID_KEYS = frozenset({"id", "idstr", "mid", "pic_id", "object_id", "url", "access_token"})
ERROR_DETAILS = {10007: "json", 10016: "status", 10017: "status"}
"""What stands between the brackets of an error that a fault provokes; in the others it is the call."""
Endpoint = Callable[[ApiRequest], ApiResponse]


def create_platform(state: SimulatorState) -> Platform:
    tokens, post_ids = WeiboTokens(state), PostIdGenerator(state)
    auth = SimulatedWeiboAuth(state, tokens, WeiboQuotas(state))
    writer = WeiboPostWriter(state, auth, post_ids)

    def refused(request: ApiRequest, code: int, message: str | None = None) -> ApiResponse:
        return _format_error_code(
            refuse(request, code, ERROR_DETAILS.get(code, "") or get_resource_name(request), message), state
        )

    def make_external_post(wanted: Mapping[str, Any]) -> SimulatedPost:
        now = state.now()
        sent = str(wanted.get("text") or "")
        text, links = shorten_links(sent)
        extra = {"by_hand": True, "sent": sent, "url_objects": links}
        return SimulatedPost(post_ids.next(now), "weibo", str(wanted["account"]), now, text, extra=extra)

    endpoints = (
        _make_auth_endpoints(state, auth, tokens)
        | _make_post_endpoints(auth, writer)
        | _make_read_endpoints(state, auth)
    )
    return Platform(
        name="weibo",
        endpoints={path: _with_variants(endpoint, state) for path, endpoint in endpoints.items()},
        identify_caller=auth.identify_caller,
        refuse=lambda request, code, message: refused(request, int(code), message),
        refuse_unknown=lambda request: refused(request, 10020),
        expire_token=lambda request: refused(request, 21327),
        fault_codes={"duplicate": "20019", "captcha": "20031"},
        id_keys=ID_KEYS,
        make_external_post=make_external_post,
        get_public_url=lambda post: f"https://weibo.com/{post.account}/{encode_bid(post.id)}",
        make_secret=make_secret,
        delayed_success_codes=frozenset({"20032"}),
    )


def _make_auth_endpoints(state: SimulatorState, auth: SimulatedWeiboAuth, tokens: WeiboTokens) -> dict[str, Endpoint]:
    oauth = WeiboOAuthApi(state, auth, tokens)
    return {
        "/oauth2/authorize": oauth.authorize,
        "/oauth2/default.html": oauth.show_default_page,
        "/oauth2/access_token": oauth.access_token,
        "/oauth2/get_token_info": oauth.token_info,
        "/oauth2/revokeoauth2": oauth.revoke,
        "/2/account/rate_limit_status.json": auth.show_rate_limit,
    }


def _make_post_endpoints(auth: SimulatedWeiboAuth, writer: WeiboPostWriter) -> dict[str, Endpoint]:
    return {path: writer.make_handler(way) for path, way in CREATE_ENDPOINTS.items()} | {
        "/2/statuses/upload_pic/biz.json": UploadPictureEndpoint(auth, writer.pictures),
        ARTICLE_PATH: ArticleEndpoint(auth, writer),
    }


def _make_read_endpoints(state: SimulatorState, auth: SimulatedWeiboAuth) -> dict[str, Endpoint]:
    reading, counting = WeiboTimelineApi(state, auth), WeiboMetricsApi(state, auth)
    return {
        "/2/statuses/user_timeline.json": reading.timeline,
        "/2/statuses/user_timeline/biz.json": reading.business_timeline,
        "/2/statuses/show.json": reading.show,
        "/2/statuses/destroy.json": reading.destroy,
        "/2/statuses/destroy/biz.json": reading.business_destroy,
        "/2/statuses/count.json": counting.counts,
        "/2/statuses/count/biz.json": counting.business_counts,
    }


def _with_variants(endpoint: Endpoint, state: SimulatorState) -> Endpoint:
    """The endpoint with the fault `no_id` carried into lists, and error codes spelled as the setting says."""

    def finished(request: ApiRequest) -> ApiResponse:
        response = _format_error_code(endpoint(request), state)
        if request.faults and request.get_fault("no_id") and response.content_type.startswith("application/json"):
            return ApiResponse(to_json(_remove_ids(json.loads(response.body))), response.status, response.content_type)
        return response

    return finished


def _remove_ids(body: Any) -> Any:  # noqa: ANN401 - any JSON
    if isinstance(body, list):
        return [_remove_id_keys(entry) for entry in body]
    if isinstance(body.get("statuses"), list):
        return {**body, "statuses": [_remove_id_keys(entry) for entry in body["statuses"] if isinstance(entry, dict)]}
    return body


def _remove_id_keys(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key not in ID_KEYS}


def _format_error_code(response: ApiResponse, state: SimulatorState) -> ApiResponse:
    """Numbers are what is seen on the wire, text is what the platform's own samples show."""
    if state.behaviour.weibo_error_code == "number" or b'"error_code"' not in response.body:
        return response
    body = json.loads(response.body)
    return ApiResponse.from_json(body | {"error_code": str(body["error_code"])}, response.status)
