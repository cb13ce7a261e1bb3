"""What threads and floors have in common: who may write, which words are taken, how the answer reads."""

from collections.abc import Callable

from publisher.simulator.call import Answer, Call
from publisher.simulator.world import Post, World

from .answers import BAD_WORDS, added, refuse
from .dialects import Dialect, dialect_of
from .forums import closed_to
from .marks import EMOTICON_MARK, PICTURE_MARK
from .sign_in import SignIn
from .standing import barred, hasty, standing_of

LONGEST_BODY = 2000
MOST_PICTURES = 9
MOST_EMOTICONS = 10
IN_REVIEW = "230008"
TOO_FAST = "230871"

Check = Callable[[Call], Answer | None]


class Writing:
    def __init__(self, world: World, sign_in: SignIn) -> None:
        self.world = world
        self._before: tuple[Check, ...] = (
            sign_in.posted,
            sign_in.stranger,
            lambda call: barred(world, call),
            lambda call: closed_to(world, call),
        )
        self._after: tuple[Check, ...] = (
            self._content,
            self._pictures,
            self._words,
            lambda call: hasty(world, call, "write", world.settings.tieba_gap, TOO_FAST),
        )

    def refusal(self, call: Call, *own: Check) -> Answer | None:
        """The first thing that stands against it; what its kind alone needs is asked before its words are read."""
        answers = (check(call) for check in (*self._before, *own, *self._after))
        return next((answer for answer in answers if answer is not None), None)

    def _content(self, call: Call) -> Answer | None:
        content = call.form.get("content", "")
        if not content.strip():
            return refuse(call, "230020")
        if len(PICTURE_MARK.sub("", content)) > LONGEST_BODY:
            return refuse(call, "230046")
        read_as_tags = any(each in "<>" for each in content + call.form.get("title", ""))
        if read_as_tags:
            return refuse(call, "2000" if dialect_of(call) is Dialect.PC else "232000")
        return None

    def _pictures(self, call: Call) -> Answer | None:
        content = call.form.get("content", "")
        names = [match.group(1) for match in PICTURE_MARK.finditer(content)]
        if len(names) > MOST_PICTURES:
            return refuse(call, "230809")
        if len(EMOTICON_MARK.findall(content)) > MOST_EMOTICONS:
            return refuse(call, "230814")
        known = all(self.world.get("tieba_pictures", name) for name in names)
        return None if known else refuse(call, "230961")

    def _words(self, call: Call) -> Answer | None:
        text = call.form.get("title", "") + call.form.get("content", "")
        found = [word for word in self.world.settings.tieba_words if word in text]
        return refuse(call, BAD_WORDS, words=found) if found else None

    def finish(self, call: Call, post: Post, tid: str, pid: str) -> Answer:
        """Put it into the world and answer; an account whose posts are hidden is told of success all the same."""
        standing = standing_of(self.world, call.account)
        if standing.get("hide_stat"):
            post.extra["hidden"] = True
        self.world.create(call, post)
        if post.state == "review" and (call.fault("review") or {}).get("announce"):
            return refuse(call, IN_REVIEW)
        return added(call, tid, pid, standing)
