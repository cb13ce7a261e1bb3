"""WeChat Official Accounts.

Tokens, pictures, drafts, publishing, mass sends, events and statistics.
"""

import hashlib
import secrets
from collections.abc import Mapping
from typing import Any

from publisher.simulator.platform import Handler, Platform
from publisher.simulator.request import ApiRequest, ApiResponse
from publisher.simulator.state import SimulatedPost, SimulatorState

from . import (
    callbacks,
    drafts,
    followers,
    mass_messages,
    media,
    publish,
    statistics,
    tokens,
)
from .responses import build_article_url, make_media_id, refuse
from .tokens import require_token

DUPLICATE_KEY_CODE = "45065"
POST_ENDPOINTS: Mapping[str, Handler] = {
    "/cgi-bin/media/uploadimg": media.upload_image,
    "/cgi-bin/media/upload": media.upload_temporary,
    "/cgi-bin/material/add_material": media.add_material,
    "/cgi-bin/material/get_material": media.get_material,
    "/cgi-bin/material/del_material": media.delete_material,
    "/cgi-bin/material/batchget_material": media.batch_get_materials,
    "/cgi-bin/draft/add": drafts.add_draft,
    "/cgi-bin/draft/update": drafts.update_draft,
    "/cgi-bin/draft/get": drafts.get_draft,
    "/cgi-bin/draft/batchget": drafts.batch_get_drafts,
    "/cgi-bin/draft/delete": drafts.delete_draft,
    "/cgi-bin/freepublish/submit": publish.submit,
    "/cgi-bin/freepublish/get": publish.get_job,
    "/cgi-bin/freepublish/batchget": publish.batch_get_articles,
    "/cgi-bin/freepublish/getarticle": publish.get_article,
    "/cgi-bin/freepublish/delete": publish.delete_article,
    "/cgi-bin/message/mass/sendall": mass_messages.send_all,
    "/cgi-bin/message/mass/send": mass_messages.send_to_list,
    "/cgi-bin/message/mass/preview": mass_messages.send_preview,
    "/cgi-bin/message/mass/get": mass_messages.get_mass_send,
    "/cgi-bin/message/mass/delete": mass_messages.delete_mass_send,
    "/cgi-bin/tags/create": followers.create_tag,
    "/cgi-bin/tags/members/batchtagging": followers.tag_members,
    "/datacube/getarticletotaldetail": statistics.show_details,
    "/datacube/getarticlesummary": statistics.show_old_summary,
}
GET_ENDPOINTS: Mapping[str, Handler] = {
    "/cgi-bin/draft/count": drafts.count_drafts,
    "/cgi-bin/media/get": media.download_temporary,
    "/cgi-bin/material/get_materialcount": media.count_materials,
    "/cgi-bin/tags/get": followers.list_tags,
    "/cgi-bin/user/get": followers.list_followers,
}
ENDPOINTS: Mapping[str, Handler] = {
    "/cgi-bin/stable_token": tokens.issue_stable,
    "/cgi-bin/token": tokens.issue_plain,
    **{
        path: require_token(handler, "POST") for path, handler in POST_ENDPOINTS.items()
    },
    **{path: require_token(handler, "GET") for path, handler in GET_ENDPOINTS.items()},
}


def make_secret(identity: str) -> dict[str, str]:
    digest = hashlib.sha512(f"wechat/{identity}".encode()).hexdigest()
    return {"app_id": identity, "app_secret": digest[:32]}


def make_external_post(
    state: SimulatorState, fields: Mapping[str, Any]
) -> SimulatedPost:
    text, title = str(fields.get("text") or ""), str(fields.get("title") or "")
    html = str(fields.get("html") or f"<p>{text}</p>")
    article = {
        "title": title,
        "digest": text,
        "content": html,
        "author": "",
        "content_source_url": "",
    }
    extra = {
        "by_hand": True,
        "articles": [article],
        "publish_id": publish.make_job_id(state),
    }
    account, name = str(fields["account"]), make_media_id(secrets.token_hex(8))
    return SimulatedPost(
        name, "wechat", account, state.now(), text, title, html, extra=extra
    )


def refuse_by_fault(request: ApiRequest, code: str, message: str | None) -> ApiResponse:
    """Refuse a call.

    A duplicate key names the mass send that was created under it, even if by this very call.
    """
    created = request.post_id or ""
    more = (
        {"msg_id": int(created)}
        if code == DUPLICATE_KEY_CODE and created.isdecimal()
        else {}
    )
    return refuse(request, int(code), message, **more)


def finish_review(state: SimulatorState, post: SimulatedPost) -> None:
    drafts.remove_submitted(state, post)
    callbacks.schedule_event(state, post)


PLATFORM = Platform(
    name="wechat",
    endpoints=ENDPOINTS,
    identify_caller=tokens.identify_caller,
    refuse=refuse_by_fault,
    unknown_endpoint_code="40066",
    expire_token=tokens.expire_all,
    fault_codes={"duplicate": DUPLICATE_KEY_CODE, "captcha": "53504"},
    id_keys=frozenset(
        {
            "publish_id",
            "msg_id",
            "msg_data_id",
            "media_id",
            "article_id",
            "url",
            "access_token",
        }
    ),
    make_external_post=make_external_post,
    get_public_url=lambda post: build_article_url(
        post.account, post.extra["publish_id"], 1
    ),
    make_secret=make_secret,
    finish_review=finish_review,
    register_callback=callbacks.register_callback,
)
