"""Pictures that come with a post, and those stored for one (open.weibo.com wiki C/2/statuses/upload_pic/biz)."""

import base64
import hashlib
import secrets
from dataclasses import dataclass

from publisher.simulator.call import Answer, Call
from publisher.simulator.world import World

from .answers import picture_sizes, refuse
from .sign_in import SignIn

PICTURE_BYTES = 5 * 1024 * 1024
SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a")
MOST = 9
TABLE = "weibo_pictures"
NO_IMAGE, WRONG_TYPE, TOO_LARGE, MISSING, WRONG = 20007, 20005, 20006, 10016, 10017
STAND_IN = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGOoBwAAgQCAbdzBAgAAAABJRU5ErkJggg=="
)
"""One grey dot in place of what lies at an address: the simulator fetches nothing."""


@dataclass(frozen=True, slots=True)
class Pictures:
    world: World

    def refusal(self, call: Call, *, is_needed: bool) -> Answer | None:
        """What is wrong with the picture in the body, if anything."""
        picture = call.files.get("pic")
        if picture is None:
            return refuse(call, NO_IMAGE) if is_needed or "pic" in call.form else None
        if not picture.data.startswith(SIGNATURES):
            return refuse(call, WRONG_TYPE)
        return refuse(call, TOO_LARGE) if len(picture.data) >= PICTURE_BYTES else None

    def stored_refusal(self, call: Call) -> Answer | None:
        """What is wrong with the numbers or the address in place of a picture; numbers win."""
        numbers, address = _numbers(call), call.value("url") or ""
        if numbers:
            is_good = len(numbers) <= MOST and all(self._stored(call, number) for number in numbers)
            return None if is_good else refuse(call, WRONG, "pic_id")
        if not address:
            return refuse(call, MISSING, "pic_id or url")
        return None if address.lower().startswith("http") else refuse(call, WRONG, "url")

    def keep(self, call: Call) -> list[str]:
        """The digests of a good call's pictures, in the post's order."""
        picture = call.files.get("pic")
        if picture is not None:
            return [self.world.store_media(picture.data)]
        return [self._stored(call, number) for number in _numbers(call)]

    def keep_stand_in(self) -> list[str]:
        return [self.world.store_media(STAND_IN)]

    def store(self, call: Call) -> Answer:
        """Keep a picture for a post to come, under a number that only its account may use."""
        digest, number = self.keep(call)[0], _new_number()
        self.world.put(TABLE, number, {"sha256": digest, "account": call.account})
        return Answer.of({"pic_id": number, **picture_sizes(number)})

    def _stored(self, call: Call, number: str) -> str:
        facts = self.world.get(TABLE, number)
        return str(facts["sha256"]) if facts and facts["account"] == call.account else ""


@dataclass(frozen=True, slots=True)
class UploadPicture:
    """upload_pic: nothing shows the picture until a post names it."""

    sign_in: SignIn
    pictures: Pictures

    def __call__(self, call: Call) -> Answer:
        return (
            self.sign_in.refusal(call, "POST", "biz")
            or self.pictures.refusal(call, is_needed=True)
            or self.pictures.store(call)
        )


def _numbers(call: Call) -> list[str]:
    return [each.strip() for each in (call.value("pic_id") or "").split(",") if each.strip()]


def _new_number() -> str:
    return hashlib.sha256(secrets.token_bytes(16)).hexdigest()[:25]
