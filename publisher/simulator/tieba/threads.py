"""Opening a thread, its pictures, taking it down.

Field names and codes are those of the 2026 PC editor's calls `c/c/thread/add_pc` and `c/s/uploadPicture_pc` and of the
app's `c/c/bawu/delthread`, as public clients use them.
"""

import re
from collections.abc import Callable

from publisher.simulator.call import Answer, Call
from publisher.simulator.world import Post, World

from .answers import refuse
from .forums import ThreadIds, exists, floor_id, forum_id
from .sign_in import APP_SALT, WEB_SALT, SignIn

PICTURE_MARK = re.compile(r"#\(pic,([0-9]+),([0-9]+),([0-9]+)\)")
SHORTEST_TITLE, LONGEST_TITLE = 5, 31
LONGEST_BODY = 2000
MOST_PICTURES = 9
PICTURE_BYTES = 10 * 1024 * 1024
FIRST_PICTURE = 301_500_000_001
PICTURES = {b"\xff\xd8\xff": "jpg", b"\x89PNG\r\n\x1a\n": "png", b"GIF8": "gif"}
FILE_SIGNED = "[object File]"
"""What stands for the file's bytes in the signature of an upload."""


class Threads:
    def __init__(self, world: World, sign_in: SignIn, ids: ThreadIds) -> None:
        self.world = world
        self._sign_in = sign_in
        self._ids = ids
        self._checks: tuple[Callable[[Call], Answer | None], ...] = (
            lambda call: sign_in.unsigned(call, WEB_SALT),
            sign_in.stranger,
            self._forum,
            self._title,
            self._content,
            self._pictures,
        )

    def add(self, call: Call) -> Answer:
        for check in self._checks:
            refusal = check(call)
            if refusal:
                return refusal
        post = self._post(call)
        self.world.create(call, post)
        if post.state == "review" and (call.fault("review") or {}).get("announce"):
            return refuse(call, "230008")
        return Answer.of(
            {"error_code": "0", "tid": post.id, "pid": floor_id(post.id), "msg": "发送成功", "opgroup": "0"}
        )

    def _forum(self, call: Call) -> Answer | None:
        name = call.form.get("kw", "")
        known = exists(self.world, name) and call.form.get("fid") == str(forum_id(name))
        return None if known else refuse(call, "230274")

    def _title(self, call: Call) -> Answer | None:
        size = len(call.form.get("title", "").strip())
        if size < SHORTEST_TITLE:
            return refuse(call, "230020")
        return refuse(call, "220011") if size > LONGEST_TITLE else None

    def _content(self, call: Call) -> Answer | None:
        content = call.form.get("content", "")
        if not content.strip():
            return refuse(call, "230020")
        if len(PICTURE_MARK.sub("", content)) > LONGEST_BODY:
            return refuse(call, "230046")
        read_as_tags = any(each in "<>" for each in content + call.form.get("title", ""))
        return refuse(call, "2000") if read_as_tags else None

    def _pictures(self, call: Call) -> Answer | None:
        names = [match.group(1) for match in PICTURE_MARK.finditer(call.form.get("content", ""))]
        if len(names) > MOST_PICTURES:
            return refuse(call, "230809")
        known = all(self.world.get("tieba_pictures", name) for name in names)
        return None if known else refuse(call, "230961")

    def _post(self, call: Call) -> Post:
        content, forum = call.form["content"], call.form["kw"]
        names = [match.group(1) for match in PICTURE_MARK.finditer(content)]
        pictures = [found["sha256"] for name in names if (found := self.world.get("tieba_pictures", name))]
        extra = {"forum": forum, "fid": forum_id(forum)}
        now, title = self.world.now(), call.form["title"]
        return Post(self._ids.next(), "tieba", call.account, now, content, title, images=pictures, extra=extra)

    def upload(self, call: Call) -> Answer:
        refusal = self._sign_in.unsigned(call, WEB_SALT, chunk=FILE_SIGNED) or self._sign_in.stranger(call)
        if refusal:
            return refusal
        file = call.files.get("chunk")
        kind = next((kind for start, kind in PICTURES.items() if file and file.data.startswith(start)), None)
        if file is None or kind is None or len(file.data) > PICTURE_BYTES:
            return refuse(call, "2230201")
        name = str(FIRST_PICTURE + len(self.world.tables["tieba_pictures"]))
        digest = self.world.store_media(file.data)
        self.world.put("tieba_pictures", name, {"sha256": digest, "account": call.account})
        self.world.note("act", None, call)
        return Answer.of(self._uploaded(call, name, f"http://tiebapic.baidu.com/forum/pic/item/{digest}.{kind}", kind))

    def _uploaded(self, call: Call, name: str, url: str, kind: str) -> dict[str, object]:
        size = {
            "width": call.form.get("width", "0"),
            "height": call.form.get("height", "0"),
            "type": kind,
            "picUrl": url,
        }
        return {
            "error_code": "0",
            "error_msg": "sucess",
            "resourceId": call.form.get("resourceId", ""),
            "chunkNo": call.form.get("chunkNo", "1"),
            "picId": name,
            "picInfo": {"originPic": size, "bigPic": size, "smallPic": size},
        }

    def delete(self, call: Call) -> Answer:
        refusal = self._sign_in.unsigned(call, APP_SALT) or self._sign_in.stranger(call)
        if refusal:
            return refusal
        post = self.world.posts.get(call.form.get("z", ""))
        if post is None or post.platform != "tieba" or post.state == "removed":
            return refuse(call, "230273")
        if post.account != call.account or call.form.get("fid") != str(post.extra["fid"]):
            return refuse(call, "230308")
        self.world.remove(post, "owner", call)
        return Answer.of({"error_code": "0", "error_msg": "", "ctime": 0, "logid": call.number})
