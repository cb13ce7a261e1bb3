"""Run the client `weibo`: sign in, share, read, delete. The results go to standard output as JSON.

Arguments: one JSON object. Only the client's addresses are changed.
"""

import json
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import requests
import weibo

ADDRESS = "211.156.0.1"


def client_of(asked: dict) -> weibo.Client:
    client = weibo.Client(asked["app_key"], asked["app_secret"], asked["page"])
    client.authorization_url = f"{asked['address']}/oauth2/authorize"
    client.token_url = f"{asked['address']}/oauth2/access_token"
    client.api_url = f"{asked['address']}/2/"
    return client


def code_for(client: weibo.Client) -> str:
    """Return the code that a browser would receive after consent."""
    answer = requests.get(client.authorize_url, allow_redirects=False, timeout=60)
    return parse_qs(urlsplit(answer.headers["location"]).query)["code"][0]


def error_of(do: Callable[[], object]) -> str | None:
    """Return the client's error text; of a broken connection only the kind."""
    try:
        do()
    except RuntimeError as error:
        return str(error)
    except requests.ConnectionError:
        return "connection"
    return None


def listed(client: weibo.Client) -> list[str]:
    return [
        status["idstr"] for status in client.get("statuses/user_timeline")["statuses"]
    ]


def publish(asked: dict) -> dict:
    client = client_of(asked)
    code = code_for(client)
    client.set_code(code)
    plain = client.post("statuses/share", status=asked["texts"][0], rip=ADDRESS)
    with Path(asked["picture"]).open("rb") as picture:
        shown = client.post(
            "statuses/share", status=asked["texts"][1], rip=ADDRESS, pic=picture
        )
    before = listed(client)
    counts = client.get("statuses/count", ids=f"{plain['idstr']},{shown['idstr']}")
    gone = client.post("statuses/destroy", id=plain["idstr"])
    return {
        "version": version("weibo"),
        "uid": client.uid,
        "alive": client.alive,
        "shared": [plain["idstr"], shown["idstr"]],
        "texts": [
            client.get("statuses/show", id=shown["idstr"])["text"],
            shown["text"],
        ],
        "pictures": [len(plain["pic_urls"]), len(shown["pic_urls"])],
        "before": before,
        "counted": [each["id"] for each in counts],
        "gone": gone["idstr"],
        "after": listed(client),
        "left": client.get("account/rate_limit_status")["api_rate_limits"][0][
            "remaining_hits"
        ],
        "code_again": error_of(lambda: client.set_code(code)),
        "gone_again": error_of(
            lambda: client.post("statuses/destroy", id=plain["idstr"])
        ),
        "same_again": error_of(
            lambda: client.post("statuses/share", status=asked["texts"][1], rip=ADDRESS)
        ),
        "no_link": error_of(
            lambda: client.post("statuses/share", status="没有链接", rip=ADDRESS)
        ),
        "too_long": error_of(
            lambda: client.post("statuses/share", status="雨" * 141, rip=ADDRESS)
        ),
        "update": error_of(
            lambda: client.post("statuses/update", status="x", rip=ADDRESS)
        ),
    }


def share(asked: dict) -> dict:
    """Share once, perhaps in vain, and count the posts of the account afterwards."""
    client = client_of(asked)
    client.set_token(
        {
            "uid": asked["uid"],
            "access_token": asked["access_token"],
            "expires_at": 2**33,
        }
    )
    return {
        "error": error_of(
            lambda: client.post("statuses/share", status=asked["texts"][0], rip=ADDRESS)
        ),
        "listed": len(listed(client)),
    }


asked = json.loads(sys.argv[1])
sys.stdout.write(json.dumps({"publish": publish, "share": share}[asked["do"]](asked)))
