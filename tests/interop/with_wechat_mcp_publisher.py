"""Run wechat-mcp-publisher: make drafts.

The results go to standard output as JSON. Arguments: one JSON object.
"""

import json
import os
import sys
from importlib.metadata import version

from wechat_mcp_publisher.core import client as speech
from wechat_mcp_publisher.core.exceptions import WeChatAPIError
from wechat_mcp_publisher.tools import draft


def work(asked: dict) -> dict:
    os.environ |= {
        "WECHAT_APP_ID": asked["app_id"],
        "WECHAT_APP_SECRET": asked["app_secret"],
    }
    speech.BASE_URL = asked["base"]
    client = speech.get_client()
    pictures = draft.create_newspic_draft(
        asked["title"], "第一行<br>第二行", asked["pictures"]
    )
    token = client._token
    news = draft.create_news_draft(
        asked["title"],
        f'<p>文<img src="{asked["pictures"][0]}"></p>',
        asked["pictures"][1],
        "摘要",
    )
    client.invalidate_token()
    listed = client.list_drafts()
    try:
        draft.create_newspic_draft("过小", "图", [asked["small"]])
    except WeChatAPIError as error:
        small = error.errcode
    else:
        small = 0
    return {
        "version": version("wechat-mcp-publisher"),
        "same_token": client._token == token,
        "listed": [[item.media_id, item.title] for item in listed.items],
        "pictures": [
            pictures["media_id"],
            client.get_draft(pictures["media_id"])["news_item"][0],
        ],
        "news": [news["media_id"], client.get_draft(news["media_id"])["news_item"][0]],
        "small": small,
        "deleted": client.delete_draft(news["media_id"]),
        "left": client.list_drafts().total,
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(work(json.loads(sys.argv[1]))) + "\n")
