"""Run wechatpy: publish, send, read, delete.

The results go to standard output as JSON. Arguments: one object.
"""

import io
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version
from urllib.parse import parse_qsl, urlsplit
from urllib.request import Request, urlopen

from wechatpy import WeChatClient, parse_message
from wechatpy.crypto import WeChatCrypto
from wechatpy.exceptions import WeChatClientException
from wechatpy.utils import check_signature

PATIENCE = 20


class Redirected(WeChatClient):
    """The client with another host; its token address is a constant in it."""

    host = ""

    def fetch_access_token(self):
        params = {
            "grant_type": "client_credential",
            "appid": self.appid,
            "secret": self.secret,
        }
        return self._fetch_access_token(url=f"{self.host}/cgi-bin/token", params=params)


def client_of(asked: dict) -> Redirected:
    Redirected.host, Redirected.API_BASE_URL = (
        asked["base"],
        f"{asked['base']}/cgi-bin/",
    )
    client = Redirected(asked["app_id"], asked["app_secret"], auto_retry=False)
    client.datacube.API_BASE_URL = f"{asked['base']}/datacube/"
    return client


def control(asked: dict, path: str, body: dict) -> dict:
    request = Request(f"{asked['base']}/_sim/{path}", json.dumps(body).encode())  # noqa: S310
    with urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310
        return json.load(answer)


def picture(asked: dict) -> io.BytesIO:
    return io.BytesIO(bytes.fromhex(asked["png"]))


def draft(client: Redirected, asked: dict, title: str) -> str:
    cover = client.material.add("image", picture(asked))["media_id"]
    inside = client.media.upload_image(picture(asked))
    article = {
        "title": title,
        "digest": "摘要",
        "content": f'<p>正文<img src="{inside}"></p>',
        "thumb_media_id": cover,
    }
    article["content_source_url"] = "https://example.gov.cn/?pub=1"
    return client.draft.add([article])["media_id"]


def refusal(call, *given) -> int:
    try:
        call(*given)
    except WeChatClientException as error:
        return error.errcode
    return 0


def publish(asked: dict) -> dict:
    client = client_of(asked)
    name = draft(client, asked, "初稿")
    standing = client.draft.get(name)["news_item"][0]
    changed = {
        each: standing[each]
        for each in ("content", "digest", "thumb_media_id", "content_source_url")
    }
    client.draft.update(name, 0, {"title": asked["title"], **changed})
    counted, listed = client.draft.count(), client.draft.batchget(0, 20, 1)
    job = client.freepublish.submit(name)["publish_id"]
    working = client.freepublish.get(job)["publish_status"]
    control(asked, "clock", {"shift": 60})
    done = client.freepublish.get(job)
    article = done["article_id"]
    public, shelf = (
        client.freepublish.getarticle(article),
        client.freepublish.batchget(0, 20, 1),
    )
    client.freepublish.delete(article)
    return {
        "version": version("wechatpy"),
        "drafts": [
            counted["total_count"],
            [each["media_id"] for each in listed["item"]] == [name],
        ],
        "consumed": refusal(client.draft.get, name),
        "statuses": [
            working,
            done["publish_status"],
            client.freepublish.get(job)["publish_status"],
        ],
        "article": article,
        "url": done["article_detail"]["item"][0]["article_url"],
        "title": public["news_item"][0]["title"],
        "marker": shelf["item"][0]["content"]["news_item"][0]["content_source_url"],
        "deleted": client.freepublish.getarticle(article)["news_item"][0]["is_deleted"],
    }


def send(asked: dict) -> dict:
    client = client_of(asked)
    client.tag.create("示例标签")
    people = client.user.get_followers()["data"]["openid"][:2]
    client.tag.tag_user(100, people)
    first, second, third = (
        draft(client, asked, title) for title in (asked["title"], "标签", "名单")
    )
    client.message.send_mass_article(first, people[0], preview=True)
    sent = client.message.send_mass_article(first, is_to_all=True, client_msg_id="once")
    fast = refusal(
        lambda: client.message.send_mass_article(
            first, is_to_all=True, client_msg_id="once"
        )
    )
    before = client.message.get_mass(sent["msg_id"])["msg_status"]
    control(asked, "clock", {"shift": 61})
    again = refusal(
        lambda: client.message.send_mass_article(
            first, is_to_all=True, client_msg_id="once"
        )
    )
    other = refusal(
        lambda: client.message.send_mass_article(
            first, is_to_all=True, client_msg_id="other"
        )
    )
    to_tag, to_list = (
        client.message.send_mass_article(*each)
        for each in ((second, 100), (third, people))
    )
    client.message.send_mass_text("提醒", 100)
    after = client.message.get_mass(sent["msg_id"])["msg_status"]
    client.message.delete_mass(sent["msg_id"])
    return {
        "tags": [[tag["name"], tag["count"]] for tag in client.tag.get()],
        "numbers": [
            sent["msg_id"],
            sent["msg_data_id"],
            to_tag["msg_id"],
            to_list["msg_id"],
        ],
        "refused": [fast, again, other],
        "statuses": [
            before,
            after,
            client.message.get_mass(sent["msg_id"])["msg_status"],
        ],
        "unlisted": client.freepublish.batchget(0, 20)["total_count"],
    }


def store(asked: dict) -> dict:
    client = client_of(asked)
    name = client.material.add("image", picture(asked))["media_id"]
    passing = client.media.upload("image", picture(asked))["media_id"]
    counted, listed = client.material.get_count(), client.material.batchget("image")
    same = [
        client.material.get(name).content.hex(),
        client.media.download(passing).content.hex(),
    ]
    cover = {"title": "题", "content": "文", "thumb_media_id": passing}
    temporary = refusal(client.draft.add, [cover])
    client.material.delete(name)
    return {
        "counted": counted["image_count"],
        "listed": [each["media_id"] for each in listed["item"]] == [name],
        "same": same == [asked["png"]] * 2,
        "temporary": temporary,
        "gone": refusal(client.material.delete, name),
        "days": client.datacube.get_article_summary(asked["day"], asked["day"]),
    }


class EventHandler(BaseHTTPRequestHandler):
    """Verifies and decrypts events by wechatpy's own functions."""

    asked: dict
    received: list

    def do_GET(self) -> None:
        query = dict(parse_qsl(urlsplit(self.path).query))
        check_signature(
            self.asked["token"], query["signature"], query["timestamp"], query["nonce"]
        )
        self._answer(query["echostr"])

    def do_POST(self) -> None:
        query = dict(parse_qsl(urlsplit(self.path).query))
        check_signature(
            self.asked["token"], query["signature"], query["timestamp"], query["nonce"]
        )
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if "msg_signature" in query:
            crypto = WeChatCrypto(
                self.asked["token"], self.asked["aes_key"], self.asked["app_id"]
            )
            body = crypto.decrypt_message(
                body, query["msg_signature"], query["timestamp"], query["nonce"]
            )
        message = parse_message(body)
        self.received.append([type(message).__name__, message._data])
        self._answer("success")

    def _answer(self, text: str) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        """Write no access log."""


def receive(asked: dict) -> dict:
    EventHandler.asked, EventHandler.received = asked, []
    client = client_of(asked)
    with HTTPServer(("127.0.0.1", 0), EventHandler) as server:
        server.timeout = PATIENCE
        wanted = {
            "account": asked["app_id"],
            "url": f"http://127.0.0.1:{server.server_port}/wx",
            "mode": asked["mode"],
        }
        body = json.dumps(wanted | _secrets(asked)).encode()
        request = Request(f"{asked['base']}/_sim/callbacks", body)  # noqa: S310
        taken = _register_while_serving(server, request)
        job = client.freepublish.submit(draft(client, asked, "甲"))["publish_id"]
        server.handle_request()
        mass = client.message.send_mass_article(
            draft(client, asked, "乙"), is_to_all=True
        )["msg_id"]
        server.handle_request()
    return {"taken": taken, "job": job, "mass": mass, "received": EventHandler.received}


def _secrets(asked: dict) -> dict:
    return {"token": asked["token"], "aes_key": asked["aes_key"]}


def _register_while_serving(server: HTTPServer, request: Request) -> dict:
    """Register the URL while the server answers the handshake."""
    server_thread = threading.Thread(target=server.handle_request)
    server_thread.start()
    with urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310
        taken = json.load(answer)
    server_thread.join()
    return taken


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    reported = {"publish": publish, "send": send, "store": store, "receive": receive}[
        asked["do"]
    ](asked)
    sys.stdout.write(json.dumps(reported) + "\n")
