"""WeChat Official Accounts: tokens, pictures, drafts, publishing, mass sends, events, statistics."""

import hashlib
import secrets
from collections.abc import Callable, Mapping
from typing import Any

from publisher.simulator.call import Answer, Call
from publisher.simulator.side import Side
from publisher.simulator.world import Post, World

from .answers import refuse
from .callbacks import Callbacks
from .drafts import Drafts
from .ids import article_url, media_id
from .media import Media
from .publishing import Publishing
from .quotas import Quotas
from .sending import Sending
from .shapes import in_shape, shaped
from .statistics import Statistics
from .tokens import Tokens

Endpoints = dict[str, Callable[[Call], Answer]]
KNOWN_KEY = 45065


def create(world: World) -> Side:
    quotas = Quotas(world)
    tokens, media, drafts = Tokens(world, quotas), Media(world), Drafts(world)
    publishing = Publishing(world, drafts)
    sending = Sending(world, drafts, media, publishing)
    posted = {
        **_material(media),
        **_drafting(drafts),
        **_publishing(publishing),
        **_sending(sending),
        **Statistics(world).endpoints(),
    }
    got = _read_by_get(media, drafts, sending)
    endpoints: Endpoints = {
        "/cgi-bin/stable_token": tokens.stable,
        "/cgi-bin/token": tokens.plain,
        **{path: tokens.behind(handler) for path, handler in posted.items()},
        **{path: tokens.behind(handler, "GET") for path, handler in got.items()},
    }
    return Side(
        name="wechat",
        endpoints={path: shaped(world, handler) for path, handler in endpoints.items()},
        who=tokens.who,
        refuse=lambda call, code, message: in_shape(world.settings, _refused(call, int(code), message)),
        unknown=lambda call: refuse(call, 40066),
        expire=tokens.expire,
        codes={"duplicate": str(KNOWN_KEY), "captcha": "53504"},
        id_keys=frozenset({"publish_id", "msg_id", "msg_data_id", "media_id", "article_id", "url", "access_token"}),
        by_hand=lambda wanted: _by_hand(world, publishing, wanted),
        address=lambda post: article_url(post.account, post.extra["publish_id"], 1),
        secret=secret,
        listen=Callbacks(world).listen,
    )


def _material(media: Media) -> Endpoints:
    return {
        "/cgi-bin/media/uploadimg": media.upload_image,
        "/cgi-bin/media/upload": media.upload,
        "/cgi-bin/material/add_material": media.add_material,
        "/cgi-bin/material/get_material": media.get_material,
        "/cgi-bin/material/del_material": media.delete_material,
        "/cgi-bin/material/batchget_material": media.batch_get_materials,
    }


def _drafting(drafts: Drafts) -> Endpoints:
    return {
        "/cgi-bin/draft/add": drafts.add,
        "/cgi-bin/draft/update": drafts.update,
        "/cgi-bin/draft/get": drafts.get,
        "/cgi-bin/draft/batchget": drafts.batch_get,
        "/cgi-bin/draft/delete": drafts.delete,
    }


def _publishing(publishing: Publishing) -> Endpoints:
    return {
        "/cgi-bin/freepublish/submit": publishing.submit,
        "/cgi-bin/freepublish/get": publishing.get,
        "/cgi-bin/freepublish/batchget": publishing.batch_get,
        "/cgi-bin/freepublish/getarticle": publishing.get_article,
        "/cgi-bin/freepublish/delete": publishing.delete,
    }


def _sending(sending: Sending) -> Endpoints:
    return {
        "/cgi-bin/message/mass/sendall": sending.send_all,
        "/cgi-bin/message/mass/send": sending.send,
        "/cgi-bin/message/mass/preview": sending.preview,
        "/cgi-bin/message/mass/get": sending.get,
        "/cgi-bin/message/mass/delete": sending.delete,
        "/cgi-bin/tags/create": sending.followers.create_tag,
        "/cgi-bin/tags/members/batchtagging": sending.followers.tag_members,
    }


def _read_by_get(media: Media, drafts: Drafts, sending: Sending) -> Endpoints:
    return {
        "/cgi-bin/draft/count": drafts.count,
        "/cgi-bin/media/get": media.download,
        "/cgi-bin/material/get_materialcount": media.count_materials,
        "/cgi-bin/tags/get": sending.followers.tags,
        "/cgi-bin/user/get": sending.followers.followers,
    }


def _refused(call: Call, code: int, message: str | None) -> Answer:
    """A known key names the mass send that was made under it, also where that was this very call."""
    made = call.post_id or ""
    more = {"msg_id": int(made)} if code == KNOWN_KEY and made.isdecimal() else {}
    return refuse(call, code, message, **more)


def _by_hand(world: World, publishing: Publishing, wanted: Mapping[str, Any]) -> Post:
    text, title = str(wanted.get("text") or ""), str(wanted.get("title") or "")
    html = str(wanted.get("html") or f"<p>{text}</p>")
    article = {"title": title, "digest": text, "content": html, "author": "", "content_source_url": ""}
    extra = {"by_hand": True, "articles": [article], "publish_id": publishing.next_job()}
    account, name = str(wanted["account"]), media_id(secrets.token_hex(8))
    return Post(name, "wechat", account, world.now(), text, title, html, extra=extra)


def secret(identity: str) -> dict[str, str]:
    digest = hashlib.sha512(f"wechat/{identity}".encode()).hexdigest()
    return {"app_id": identity, "app_secret": digest[:32]}
