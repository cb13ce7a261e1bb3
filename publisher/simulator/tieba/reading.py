"""Reading that concerns no thread: the session, forums' numbers, people.

The calls are those of public clients: `dc/common/tbs`, `c/s/pc/sync` and `f/commit/share/fnameShareApi` of the web,
`c/s/login`, `c/s/sync`, `c/s/initNickname` and `c/u/user/profile` of the app; read on 2026-11-24.
"""

from typing import Any

from publisher.simulator.call import Answer, Call
from publisher.simulator.world import World

from .answers import read, refuse, shown_standing
from .floors import is_thread
from .forums import exists, forum_id, uid
from .people import People
from .sign_in import SignIn
from .standing import standing_of

BAD_LOGIN = "1"


class Reading:
    def __init__(self, world: World, sign_in: SignIn, people: People) -> None:
        self.world = world
        self._sign_in = sign_in
        self._people = people

    def tbs(self, call: Call) -> Answer:
        """The cheapest look at a session: `is_login` is 0 without one, and a token comes all the same."""
        return Answer.of({"tbs": self._sign_in.tbs(call.account), "is_login": int(bool(call.account))})

    def sync(self, call: Call) -> Answer:
        refusal = self._sign_in.unsigned(call)
        if refusal:
            return refusal
        user: dict[str, Any] = {"is_login": 0}
        if call.account:
            user = {"is_login": 1, **self._people.author(call.account)}
        standing = standing_of(self.world, call.account)
        flags = shown_standing(call, standing) if any(standing.values()) else {}
        return read(call, {"anti": {"tbs": self._sign_in.tbs(call.account), **flags}, "user": user})

    def login(self, call: Call) -> Answer:
        """The app's sign-in by BDUSS; 1 for one that is nobody's."""
        refusal = self._sign_in.posted(call)
        if refusal or not call.account:
            return refusal or refuse(call, BAD_LOGIN)
        user = self._people.author(call.account)
        shown = {"id": str(user["id"]), "name": user["name"], "portrait": user["portrait"]}
        return read(call, {"user": shown, "anti": {"tbs": self._sign_in.tbs(call.account)}})

    def app_sync(self, call: Call) -> Answer:
        refusal = self._sign_in.posted(call)
        if refusal:
            return refusal
        client = f"wappc_{int(self.world.now() * 1000)}_{call.number % 1000:03d}"
        return read(call, {"client": {"client_id": client}, "wl_config": {"sample_id": "104505_3-105324_2"}})

    def nickname(self, call: Call) -> Answer:
        refusal = self._sign_in.posted(call) or self._sign_in.nobody(call)
        if refusal:
            return refusal
        user = self._people.author(call.account)
        shown = {"user_name": user["name"], "name_show": user["name_show"], "tieba_uid": str(user["id"])}
        return read(call, {"user_info": shown})

    def profile(self, call: Call) -> Answer:
        refusal = self._sign_in.posted(call)
        account = self._people.find(call.form)
        if refusal or account is None:
            return refusal or refuse(call, "110001")
        posts = [post for post in self.world.of("tieba", account.identity) if self.world.is_listed(post)]
        user = {
            **self._people.author(account.identity),
            "post_num": len(posts),
            "thread_num": sum(1 for post in posts if is_thread(post)),
            "my_like_num": len(account.forums),
            "tieba_uid": str(uid(account)),
        }
        return read(call, {"user": user, "anti_stat": shown_standing(call, standing_of(self.world, account.identity))})

    def forum(self, call: Call) -> Answer:
        """A forum's number; 0 where there is none, or none any more."""
        name = call.query.get("fname", "")
        is_closed = self.world.settings.tieba_forums.get(name, {}).get("closed")
        found = exists(self.world, name) and not is_closed
        return Answer.of(
            {"no": 0, "error": "success", "data": {"fid": forum_id(name) if found else 0, "can_send_pics": 1}}
        )
