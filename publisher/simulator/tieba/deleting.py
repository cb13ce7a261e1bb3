"""Taking down one's own threads and floors by the app's `c/c/bawu/delthread` and `c/c/bawu/delpost`.

As public clients use them; read on 2026-11-24.
"""

from publisher.simulator.call import Answer, Call
from publisher.simulator.world import Post, World

from .answers import done, refuse
from .floors import is_thread
from .sign_in import SignIn
from .standing import used_up

GONE, NOT_ALLOWED = "230273", "230308"


class Deleting:
    def __init__(self, world: World, sign_in: SignIn) -> None:
        self.world = world
        self._sign_in = sign_in

    def thread(self, call: Call) -> Answer:
        return self._remove(call, self.world.posts.get(call.form.get("z", "")), is_floor=False)

    def floor(self, call: Call) -> Answer:
        """Take down one floor or answer; the first floor goes with its thread only."""
        post = self.world.posts.get(call.form.get("pid", ""))
        is_there = post is not None and post.extra.get("thread") == call.form.get("z")
        return self._remove(call, post if is_there else None, is_floor=True)

    def _remove(self, call: Call, post: Post | None, *, is_floor: bool) -> Answer:
        refusal = self._refusal(call, post, is_floor=is_floor) or used_up(self.world, call)
        if refusal or post is None:
            return refusal or refuse(call, GONE)
        self.world.remove(post, "owner", call)
        return done(call)

    def _refusal(self, call: Call, post: Post | None, *, is_floor: bool) -> Answer | None:
        refusal = self._sign_in.posted(call) or self._sign_in.stranger(call)
        if refusal:
            return refusal
        if post is None or post.platform != "tieba" or is_thread(post) == is_floor or post.state == "removed":
            return refuse(call, GONE)
        is_own = post.account == call.account and call.form.get("fid") == str(post.extra["fid"])
        return None if is_own else refuse(call, NOT_ALLOWED)
