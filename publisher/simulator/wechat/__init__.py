"""WeChat Official Accounts: tokens, pictures, drafts, publishing, mass sends, events, statistics."""

import hashlib
import secrets
from collections.abc import Callable, Mapping
from typing import Any

from publisher.simulator.platform import Platform
from publisher.simulator.request import ApiRequest, ApiResponse
from publisher.simulator.state import SimulatedPost, SimulatorState

from .callbacks import CallbackSender
from .drafts import DraftApi
from .ids import build_article_url, make_media_id
from .mass_messages import MassSendApi
from .media import MediaApi
from .publish import PublishApi
from .quotas import WeChatQuotas
from .responses import refuse
from .statistics import StatisticsApi
from .tokens import WeChatTokenApi

Handler = Callable[[ApiRequest], ApiResponse]
Endpoints = dict[str, Handler]
DUPLICATE_KEY_CODE = "45065"


def create_platform(state: SimulatorState) -> Platform:
    tokens, drafts = WeChatTokenApi(state, WeChatQuotas(state)), DraftApi(state)
    publish_api = PublishApi(state, drafts)
    endpoints = _make_endpoints(state, tokens, drafts, publish_api)

    def refuse_by_fault(request: ApiRequest, code: str, message: str | None) -> ApiResponse:
        """Refuse; a duplicate key names the mass send that was created under it, even if by this very call."""
        created = request.post_id or ""
        more = {"msg_id": int(created)} if code == DUPLICATE_KEY_CODE and created.isdecimal() else {}
        return refuse(request, int(code), message, **more)

    def make_external_post(fields: Mapping[str, Any]) -> SimulatedPost:
        text, title = str(fields.get("text") or ""), str(fields.get("title") or "")
        html = str(fields.get("html") or f"<p>{text}</p>")
        article = {"title": title, "digest": text, "content": html, "author": "", "content_source_url": ""}
        extra = {"by_hand": True, "articles": [article], "publish_id": publish_api.make_job_id()}
        account, name = str(fields["account"]), make_media_id(secrets.token_hex(8))
        return SimulatedPost(name, "wechat", account, state.now(), text, title, html, extra=extra)

    return Platform(
        name="wechat",
        endpoints=endpoints,
        identify_caller=tokens.identify_caller,
        refuse=refuse_by_fault,
        refuse_unknown=lambda request: refuse(request, 40066),
        expire_token=tokens.expire_all,
        fault_codes={"duplicate": DUPLICATE_KEY_CODE, "captcha": "53504"},
        id_keys=frozenset({"publish_id", "msg_id", "msg_data_id", "media_id", "article_id", "url", "access_token"}),
        make_external_post=make_external_post,
        get_public_url=lambda post: build_article_url(post.account, post.extra["publish_id"], 1),
        make_secret=make_secret,
        register_callback=CallbackSender(state).register,
    )


def _make_endpoints(
    state: SimulatorState, tokens: WeChatTokenApi, drafts: DraftApi, publish_api: PublishApi
) -> Endpoints:
    media, statistics = MediaApi(state), StatisticsApi(state)
    mass_send_api = MassSendApi(state, drafts, publish_api)
    followers = mass_send_api.followers
    post_endpoints: Endpoints = {
        "/cgi-bin/media/uploadimg": media.upload_image,
        "/cgi-bin/media/upload": media.upload,
        "/cgi-bin/material/add_material": media.add_material,
        "/cgi-bin/material/get_material": media.get_material,
        "/cgi-bin/material/del_material": media.delete_material,
        "/cgi-bin/material/batchget_material": media.batch_get_materials,
        "/cgi-bin/draft/add": drafts.add,
        "/cgi-bin/draft/update": drafts.update,
        "/cgi-bin/draft/get": drafts.get,
        "/cgi-bin/draft/batchget": drafts.batch_get,
        "/cgi-bin/draft/delete": drafts.delete,
        "/cgi-bin/freepublish/submit": publish_api.submit,
        "/cgi-bin/freepublish/get": publish_api.get,
        "/cgi-bin/freepublish/batchget": publish_api.batch_get,
        "/cgi-bin/freepublish/getarticle": publish_api.get_article,
        "/cgi-bin/freepublish/delete": publish_api.delete,
        "/cgi-bin/message/mass/sendall": mass_send_api.send_all,
        "/cgi-bin/message/mass/send": mass_send_api.send,
        "/cgi-bin/message/mass/preview": mass_send_api.preview,
        "/cgi-bin/message/mass/get": mass_send_api.get,
        "/cgi-bin/message/mass/delete": mass_send_api.delete,
        "/cgi-bin/tags/create": followers.create_tag,
        "/cgi-bin/tags/members/batchtagging": followers.tag_members,
        "/datacube/getarticletotaldetail": statistics.show_details,
        "/datacube/getarticlesummary": statistics.show_old_summary,
    }
    get_endpoints: Endpoints = {
        "/cgi-bin/draft/count": drafts.count,
        "/cgi-bin/media/get": media.download,
        "/cgi-bin/material/get_materialcount": media.count_materials,
        "/cgi-bin/tags/get": followers.list_tags,
        "/cgi-bin/user/get": followers.list_followers,
    }
    return {
        "/cgi-bin/stable_token": tokens.issue_stable,
        "/cgi-bin/token": tokens.issue_plain,
        **{path: tokens.require_token(handler) for path, handler in post_endpoints.items()},
        **{path: tokens.require_token(handler, "GET") for path, handler in get_endpoints.items()},
    }


def make_secret(identity: str) -> dict[str, str]:
    digest = hashlib.sha512(f"wechat/{identity}".encode()).hexdigest()
    return {"app_id": identity, "app_secret": digest[:32]}
