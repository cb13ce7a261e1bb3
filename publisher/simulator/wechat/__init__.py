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
from .json_variants import apply_variant, with_variant
from .mass_messages import MassSendApi
from .media import MediaApi
from .publish import PublishApi
from .quotas import WeChatQuotas
from .responses import refuse
from .statistics import StatisticsApi
from .tokens import WeChatTokenApi

Endpoints = dict[str, Callable[[ApiRequest], ApiResponse]]
DUPLICATE_KEY_CODE = 45065


def create_platform(state: SimulatorState) -> Platform:
    quotas = WeChatQuotas(state)
    tokens, media, drafts = WeChatTokenApi(state, quotas), MediaApi(state), DraftApi(state)
    publish_api = PublishApi(state, drafts)
    mass_send_api = MassSendApi(state, drafts, media, publish_api)
    post_endpoints = {
        **_make_material_endpoints(media),
        **_make_draft_endpoints(drafts),
        **_make_publish_endpoints(publish_api),
        **_make_mass_send_endpoints(mass_send_api),
        **StatisticsApi(state).make_endpoints(),
    }
    get_endpoints = _make_get_endpoints(media, drafts, mass_send_api)
    endpoints: Endpoints = {
        "/cgi-bin/stable_token": tokens.issue_stable,
        "/cgi-bin/token": tokens.issue_plain,
        **{path: tokens.require_token(handler) for path, handler in post_endpoints.items()},
        **{path: tokens.require_token(handler, "GET") for path, handler in get_endpoints.items()},
    }
    return Platform(
        name="wechat",
        endpoints={path: with_variant(state, handler) for path, handler in endpoints.items()},
        identify_caller=tokens.identify_caller,
        refuse=lambda request, code, message: apply_variant(
            state.behaviour, _refuse_by_fault(request, int(code), message)
        ),
        refuse_unknown=lambda request: refuse(request, 40066),
        expire_token=tokens.expire_all,
        fault_codes={"duplicate": str(DUPLICATE_KEY_CODE), "captcha": "53504"},
        id_keys=frozenset({"publish_id", "msg_id", "msg_data_id", "media_id", "article_id", "url", "access_token"}),
        make_external_post=lambda wanted: _make_external_post(state, publish_api, wanted),
        get_public_url=lambda post: build_article_url(post.account, post.extra["publish_id"], 1),
        make_secret=make_secret,
        register_callback=CallbackSender(state).register,
    )


def _make_material_endpoints(media: MediaApi) -> Endpoints:
    return {
        "/cgi-bin/media/uploadimg": media.upload_image,
        "/cgi-bin/media/upload": media.upload,
        "/cgi-bin/material/add_material": media.add_material,
        "/cgi-bin/material/get_material": media.get_material,
        "/cgi-bin/material/del_material": media.delete_material,
        "/cgi-bin/material/batchget_material": media.batch_get_materials,
    }


def _make_draft_endpoints(drafts: DraftApi) -> Endpoints:
    return {
        "/cgi-bin/draft/add": drafts.add,
        "/cgi-bin/draft/update": drafts.update,
        "/cgi-bin/draft/get": drafts.get,
        "/cgi-bin/draft/batchget": drafts.batch_get,
        "/cgi-bin/draft/delete": drafts.delete,
    }


def _make_publish_endpoints(publish_api: PublishApi) -> Endpoints:
    return {
        "/cgi-bin/freepublish/submit": publish_api.submit,
        "/cgi-bin/freepublish/get": publish_api.get,
        "/cgi-bin/freepublish/batchget": publish_api.batch_get,
        "/cgi-bin/freepublish/getarticle": publish_api.get_article,
        "/cgi-bin/freepublish/delete": publish_api.delete,
    }


def _make_mass_send_endpoints(mass_send_api: MassSendApi) -> Endpoints:
    return {
        "/cgi-bin/message/mass/sendall": mass_send_api.send_all,
        "/cgi-bin/message/mass/send": mass_send_api.send,
        "/cgi-bin/message/mass/preview": mass_send_api.preview,
        "/cgi-bin/message/mass/get": mass_send_api.get,
        "/cgi-bin/message/mass/delete": mass_send_api.delete,
        "/cgi-bin/tags/create": mass_send_api.followers.create_tag,
        "/cgi-bin/tags/members/batchtagging": mass_send_api.followers.tag_members,
    }


def _make_get_endpoints(media: MediaApi, drafts: DraftApi, mass_send_api: MassSendApi) -> Endpoints:
    return {
        "/cgi-bin/draft/count": drafts.count,
        "/cgi-bin/media/get": media.download,
        "/cgi-bin/material/get_materialcount": media.count_materials,
        "/cgi-bin/tags/get": mass_send_api.followers.list_tags,
        "/cgi-bin/user/get": mass_send_api.followers.list_followers,
    }


def _refuse_by_fault(request: ApiRequest, code: int, message: str | None) -> ApiResponse:
    """A known key names the mass send that was made under it, also where that was this very call."""
    made = request.post_id or ""
    more = {"msg_id": int(made)} if code == DUPLICATE_KEY_CODE and made.isdecimal() else {}
    return refuse(request, code, message, **more)


def _make_external_post(state: SimulatorState, publish_api: PublishApi, wanted: Mapping[str, Any]) -> SimulatedPost:
    text, title = str(wanted.get("text") or ""), str(wanted.get("title") or "")
    html = str(wanted.get("html") or f"<p>{text}</p>")
    article = {"title": title, "digest": text, "content": html, "author": "", "content_source_url": ""}
    extra = {"by_hand": True, "articles": [article], "publish_id": publish_api.make_job_id()}
    account, name = str(wanted["account"]), make_media_id(secrets.token_hex(8))
    return SimulatedPost(name, "wechat", account, state.now(), text, title, html, extra=extra)


def make_secret(identity: str) -> dict[str, str]:
    digest = hashlib.sha512(f"wechat/{identity}".encode()).hexdigest()
    return {"app_id": identity, "app_secret": digest[:32]}
