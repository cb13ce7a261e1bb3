"""WeChat Official Accounts: tokens, pictures, drafts, publishing."""

import hashlib
import secrets
from collections.abc import Callable, Mapping
from typing import Any

from publisher.simulator.call import Answer, Call
from publisher.simulator.side import Side
from publisher.simulator.world import Post, World

from .answers import refuse
from .drafts import Drafts
from .ids import article_url, media_id
from .media import Media
from .publishing import Publishing
from .tokens import Tokens


def create(world: World) -> Side:
    tokens = Tokens(world)
    media, drafts = Media(world, tokens), Drafts(world, tokens)
    publishing = Publishing(world, tokens, drafts)
    endpoints: dict[str, Callable[[Call], Answer]] = {
        "/cgi-bin/stable_token": tokens.stable,
        "/cgi-bin/token": tokens.plain,
        "/cgi-bin/media/uploadimg": media.upload_image,
        "/cgi-bin/material/add_material": media.add_material,
        "/cgi-bin/draft/add": drafts.add,
        "/cgi-bin/draft/get": drafts.get,
        "/cgi-bin/draft/batchget": drafts.batch_get,
        "/cgi-bin/draft/delete": drafts.delete,
        "/cgi-bin/draft/count": drafts.count,
        "/cgi-bin/freepublish/submit": publishing.submit,
        "/cgi-bin/freepublish/get": publishing.get,
        "/cgi-bin/freepublish/batchget": publishing.batch_get,
        "/cgi-bin/freepublish/getarticle": publishing.get_article,
        "/cgi-bin/freepublish/delete": publishing.delete,
        "/cgi-bin/get_api_domain_ip": lambda call: tokens.refusal(call, "GET") or Answer.of({"ip_list": ["127.0.0.1"]}),
    }

    def by_hand(wanted: Mapping[str, Any]) -> Post:
        text, title = str(wanted.get("text") or ""), str(wanted.get("title") or "")
        html = str(wanted.get("html") or f"<p>{text}</p>")
        article = {"title": title, "digest": text, "content": html, "author": "", "content_source_url": ""}
        extra = {"by_hand": True, "articles": [article], "publish_id": publishing.next_job()}
        account, name = str(wanted["account"]), media_id(secrets.token_hex(8))
        return Post(name, "wechat", account, world.now(), text, title, html, extra=extra)

    return Side(
        name="wechat",
        endpoints=endpoints,
        who=tokens.who,
        refuse=lambda call, code, message: refuse(call, int(code), message),
        unknown=lambda call: refuse(call, 40066),
        expire=tokens.expire,
        codes={"duplicate": "45065", "captcha": "53504"},
        id_keys=frozenset({"publish_id", "msg_data_id", "media_id", "article_id", "url", "access_token"}),
        by_hand=by_hand,
        address=lambda post: article_url(post.account, post.extra["publish_id"], 1),
        secret=secret,
    )


def secret(identity: str) -> dict[str, str]:
    digest = hashlib.sha512(f"wechat/{identity}".encode()).hexdigest()
    return {"app_id": identity, "app_secret": digest[:32]}
