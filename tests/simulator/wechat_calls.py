"""WeChat's calls, as the tests make them."""

import json

PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 64
JPEG = b"\xff\xd8\xff" + b"0" * 64
DAY, BEIJING = 86_400, 8 * 3_600
"""Seconds of a day, and Beijing's lead over UTC in seconds."""


async def stable(sim, *, force=False, **more):
    body = {"grant_type": "client_credential", "appid": "wx1", "secret": "s", **more}
    return (
        await sim.post(
            "/cgi-bin/stable_token",
            json=body | ({"force_refresh": True} if force else {}),
        )
    ).json()


async def call(sim, token, path, body=None, **query):
    content = json.dumps(body or {}, ensure_ascii=False).encode()
    return (
        await sim.post(
            f"/cgi-bin/{path}", params={"access_token": token, **query}, content=content
        )
    ).json()


async def upload(sim, token, path, data=PNG, name="a.png", **query):
    files = {"media": (name, data, "image/png")}
    return await sim.post(
        f"/cgi-bin/{path}", params={"access_token": token, **query}, files=files
    )


async def cover(sim, token):
    return (await upload(sim, token, "material/add_material", type="image")).json()[
        "media_id"
    ]


async def article(sim, token, **changes):
    thumb = await cover(sim, token)
    return {
        "title": "警惕退款诈骗",
        "content": "<p>正文</p>",
        "thumb_media_id": thumb,
        **changes,
    }


async def draft(sim, token, **changes):
    return (
        await call(
            sim,
            token,
            "draft/add",
            {"articles": [await article(sim, token, **changes)]},
        )
    )["media_id"]


async def submit(sim, token, name):
    return await call(sim, token, "freepublish/submit", {"media_id": name})


async def posts(sim):
    return (await sim.get("/_sim/posts")).json()


async def shift(sim, seconds):
    await sim.post("/_sim/clock", json={"shift": seconds})


async def begin_day(sim):
    """Go on to the next midnight in Beijing.

    All later calls are then on one day, at any hour of the test run.
    """
    now = (await sim.post("/_sim/clock", json={})).json()["now"]
    await shift(sim, DAY - (now + BEIJING) % DAY + 1)


async def change_settings(sim, **settings):
    assert (await sim.post("/_sim/settings", json=settings)).status_code == 200


async def send(sim, token, name, **more):
    body = {
        "filter": {"is_to_all": True},
        "msgtype": "mpnews",
        "mpnews": {"media_id": name},
        **more,
    }
    return await call(sim, token, "message/mass/sendall", body)
