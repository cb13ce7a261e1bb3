"""Calls as Tieba's clients make them.

They are written from knowledge of the clients, not from the simulator.
"""

import hashlib
from dataclasses import dataclass

import httpx

from tests.simulator.protobuf_format import message, read_message

ME, OTHER = "tb.1.abcd", "tb.1.other"
PC, APP = "36770b1f34c9bbf2e7d1a99d2b82fa9e", "tiebaclient!!!"
PC_FIELDS = {"subapp_type": "pc", "_client_type": "20"}
PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 64
FORUM, TITLE, TEXT = "示例", "警惕退款客服诈骗", "第一行\r\n〔2026-118〕第二行"
ADD_POST = "309731"
SAID = {"content": 19, "fid": 26, "kw": 30, "tid": 45, "quote_id": 46}
"""The numbers of a reply's fields in a message."""


def signed(fields, salt=PC, **unsent):
    """Add the signature that a client would."""
    wanted = {**fields, **unsent}
    text = "".join(f"{key}={wanted[key]}" for key in sorted(wanted))
    return {
        **fields,
        "sign": hashlib.md5((text + salt).encode(), usedforsecurity=False).hexdigest(),
    }


@dataclass
class Tieba:
    """A reader or author that calls the simulator."""

    sim: httpx.AsyncClient
    who: str = ME

    @property
    def cookies(self):
        return {"Cookie": f"BDUSS={self.who}; STOKEN=x"} if self.who else {}

    def as_(self, who):
        return Tieba(self.sim, who)

    async def tbs(self):
        return (await self.sim.get("/dc/common/tbs", headers=self.cookies)).json()[
            "tbs"
        ]

    async def fid(self, name=FORUM):
        answer = await self.sim.get(
            "/f/commit/share/fnameShareApi", params={"fname": name, "ie": "utf-8"}
        )
        return str(answer.json()["data"]["fid"])

    async def place(self):
        return {"kw": FORUM, "fid": await self.fid(), "tbs": await self.tbs()}

    async def pc(self, path, **fields):
        """Call the PC site."""
        data = signed({**PC_FIELDS, **fields})
        return (await self.sim.post(path, data=data, headers=self.cookies)).json()

    async def app(self, path, **fields):
        """Call the app's server with a form."""
        return (
            await self.sim.post(path, data=signed({"BDUSS": self.who, **fields}, APP))
        ).json()

    async def message(self, path, cmd, data, part="data"):
        """Call the app's server with a message.

        Return the fields of its response by their numbers.
        """
        answer = await self.sim.post(
            path,
            params={"cmd": cmd},
            files={part: ("file", message((1, data)), None)},
            headers={"x_bd_data_type": "protobuf"},
        )
        return read_message(answer.content)

    async def say(self, tid, text, **changes):
        """Write a reply by a message."""
        common = message(
            (1, 2), (2, "12.35.1.0"), (10, self.who), (11, await self.tbs())
        )
        fields = {**await self.place(), "tid": tid, "content": text, **changes}
        said = [(SAID[name], value) for name, value in fields.items() if name in SAID]
        return await self.message(
            "/c/c/post/add", ADD_POST, message((1, common), *said)
        )

    async def thread(self, **changes):
        """Create a thread on the PC site."""
        return await self.pc(
            "/c/c/thread/add_pc",
            **{**await self.place(), "title": TITLE, "content": TEXT, **changes},
        )

    async def reply(self, tid, text="二楼的更正", **changes):
        """Write a reply on the PC site."""
        fields = {
            "tid": tid,
            "content": text,
            "quote_id": "",
            "repostid": "",
            "sub_post_id": "",
            **changes,
        }
        return await self.pc("/c/c/post/add_pc", **{**await self.place(), **fields})

    async def upload(self, data=PNG, **changes):
        """Upload a picture on the PC site."""
        fields = {
            "chunkNo": "1",
            "isFinish": "1",
            "width": "40",
            "height": "30",
            "tbs": await self.tbs(),
            **PC_FIELDS,
        }
        fields |= changes
        data = {
            "data": signed(fields, chunk="[object File]"),
            "files": {"chunk": ("a.png", data, "image/png")},
        }
        return (
            await self.sim.post("/c/s/uploadPicture_pc", **data, headers=self.cookies)
        ).json()

    async def page(self, tid, **changes):
        """Read a thread on the PC site."""
        return await self.pc(
            "/c/f/pb/page_pc",
            **{"kz": tid, "pn": "1", "lz": "0", "r": "2", "tbs": "", **changes},
        )

    async def threads(self, kind="1", **changes):
        """Read the first author's list on the PC site."""
        return (await self.thread_list(type=kind, **changes))["list"]

    async def thread_list(self, **changes):
        """Read one page of the first author's list on the PC site."""
        query = {
            "pn": "1",
            "rn": "20",
            "portrait": ME,
            "type": "1",
            "un": "",
            **PC_FIELDS,
            **changes,
        }
        answer = await self.sim.get(
            "/c/u/feed/myThread", params=signed(query), headers=self.cookies
        )
        return answer.json()["data"]

    async def settings(self, **changes):
        assert (await self.sim.post("/_sim/settings", json=changes)).status_code == 200

    async def fault(self, path, **fault):
        assert (
            "id"
            in (
                await self.sim.post(
                    "/_sim/faults", json={"endpoint": path, "fault": fault}
                )
            ).json()
        )

    async def posts(self):
        return (await self.sim.get("/_sim/posts", params={"floors": "1"})).json()


def replies(page):
    """Return the replies of a page by number and text."""
    return [(each["floor"], each["content"][0]["text"]) for each in page["post_list"]]
