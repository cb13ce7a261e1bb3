"""Run aiotieba: sign in, read and delete.

The results go to standard output as JSON. Arguments: one JSON object.
"""

import asyncio
import json
import socket
import sys
from importlib.metadata import version

import aiotieba
from aiohttp.abc import AbstractResolver


class LocalResolver(AbstractResolver):
    """Resolve every host to this machine; the port selects one of the two servers."""

    def __init__(self, plain: int, tls: int) -> None:
        self._ports = {80: plain, 443: tls}

    async def resolve(
        self, host: str, port: int = 0, family: int = socket.AF_INET
    ) -> list[dict]:
        return [
            {
                "hostname": host,
                "host": "127.0.0.1",
                "port": self._ports[port],
                "family": socket.AF_INET,
                "proto": 0,
                "flags": socket.AI_NUMERICHOST,
            }
        ]

    async def close(self) -> None:
        pass


async def read_and_delete(asked: dict) -> dict:
    async with aiotieba.Client(asked["BDUSS"], asked["STOKEN"]) as client:
        client._http_core.net_core.connector._resolver = LocalResolver(
            asked["plain"], asked["tls"]
        )
        me = await client.get_self_info()
        fid = await client.get_fid(asked["forum"])
        listed = await client.get_threads(asked["forum"])
        thread = await client.get_posts(asked["tid"], rn=2, with_comments=True)
        second = await client.get_posts(asked["tid"], pn=2, rn=2)
        answers = await client.get_comments(asked["tid"], asked["pid"])
        mine = await client.get_self_threads()
        said = await client.get_user_posts(me.user_id)
        on_pc = await client.get_user_posts_pc(me.portrait)
        is_reply_deleted = await client.del_post(fid, asked["tid"], asked["pid"])
        after = await client.get_posts(asked["tid"])
        gone = await client.del_thread(fid, asked["tid"])
        missing = await client.get_posts(asked["tid"])
        read = (
            me,
            fid,
            listed,
            thread,
            second,
            answers,
            mine,
            said,
            on_pc,
            is_reply_deleted,
            after,
            gone,
        )
        errors = [getattr(each, "err", None) for each in read]
        return {
            "version": version("aiotieba"),
            "errors": [repr(error) for error in errors if error is not None],
            "me": [me.user_id, me.portrait, me.nick_name, me.thread_num],
            "fid": int(fid),
            "listed": [
                [each.tid, each.title, each.user.portrait, each.reply_num]
                for each in listed
            ],
            "thread": [
                thread.thread.tid,
                thread.thread.title,
                thread.thread.contents.text,
                thread.forum.fname,
            ],
            "floors": [
                [each.pid, each.floor, each.text, each.user.portrait] for each in thread
            ],
            "pages": [
                thread.page.total_page,
                thread.has_more,
                second.page.current_page,
                second.has_more,
            ],
            "second": [
                [each.floor, each.text, [answer.text for answer in each.comments]]
                for each in second
            ],
            "images": [
                [image.origin_src, image.show_width, image.show_height, image.hash]
                for post in thread
                for image in post.contents.imgs
            ],
            "answers": [
                answers.post.text.strip(),
                [[each.text, each.user.portrait] for each in answers],
            ],
            "mine": [[each.tid, each.title, each.pid, each.text] for each in mine],
            "said": [
                [each.pid, each.tid, each.text]
                for each in (post for posts in said for post in posts)
            ],
            "on_pc": [[each.pid, each.thread.title, each.text] for each in on_pc],
            "after": [each.floor for each in after],
            "deleted": [bool(is_reply_deleted), bool(gone)],
            "missing": getattr(missing.err, "code", None),
        }


async def reply(asked: dict) -> dict:
    async with aiotieba.Client(asked["BDUSS"], asked["STOKEN"]) as client:
        client._http_core.net_core.connector._resolver = LocalResolver(
            asked["plain"], asked["tls"]
        )
        client.account.z_id = "z"
        answers = [
            await client.add_post(asked["forum"], asked["tid"], text)
            for text in asked["texts"]
        ]
        thread = await client.get_posts(asked["tid"])
        return {
            "version": version("aiotieba"),
            "added": [bool(each) for each in answers],
            "errors": [
                [type(each.err).__name__, getattr(each.err, "code", None)]
                for each in answers
                if each.err
            ],
            "floors": [[each.floor, each.text] for each in thread],
        }


asked = json.loads(sys.argv[1])
sys.stdout.write(
    json.dumps(
        asyncio.run({"read": read_and_delete, "reply": reply}[asked["do"]](asked))
    )
)
