"""Posts in, proofs out: every account's final words, and all that speaks against them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import tzinfo
from pathlib import Path

from publisher.contract import Adapter
from publisher.domain.account import Account, AccountId
from publisher.domain.errors import TemplateError
from publisher.domain.post import ONCE, Illustration, Occurrence, OccurrenceKey, Post, PostId
from publisher.domain.problem import Problem, Severity
from publisher.domain.rendition import Picture, Rendition, marker_for
from publisher.rendering.composing import Order, Original, compose
from publisher.rendering.pictures import PictureFile, read_pictures
from publisher.rendering.templates import Templates

NOWHERE: Mapping[str, str] = {}
_PARTS: Mapping[str, str] = {
    "title": "title", "picture": "images", "cover": "images", "summary": "", "text": "", "content": "",
}  # fmt: skip
"""Parts that adapters' codes name, and the keys they come from; several may make up a text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """The renditions of one occurrence, their pictures' type and bytes by hash, and every problem with them."""

    renditions: tuple[Rendition, ...] = ()
    media: Mapping[str, tuple[str, bytes]] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Press:
    """All that final words depend on besides the post. Reads picture files; changes nothing."""

    templates: Templates
    timezone: tzinfo
    workspace: Path
    accounts: Mapping[AccountId, Account]
    adapters: Mapping[AccountId, Adapter]
    regions: Mapping[str, Mapping[str, str]]

    def prove(
        self,
        post: Post,
        occurrence: Occurrence,
        accounts: Iterable[AccountId],
        posts: Mapping[PostId, Post],
    ) -> Proof:
        """Render an occurrence for these accounts. `posts` holds the posts it may follow, by id.

        A post whose pictures cannot be had has no renditions; its words are judged all the same.
        """
        pictures, media, problems = self._pictures(post)
        is_whole = not problems
        orders = [self._order(post, self.accounts[account], pictures, posts) for account in accounts]
        composition = compose(post, occurrence, orders, self.templates, self.timezone)
        renditions: list[Rendition] = []
        for found in composition.renditions:
            if isinstance(found, TemplateError):
                problems += found.problems
                continue
            renditions.append(found)
            media |= self._cover(found, media)
            problems += self._objections(post, found, composition.body_text)
        return Proof(renditions=tuple(renditions) if is_whole else (), media=media, problems=_once_each(problems))

    def _order(self, post: Post, account: Account, pictures: Sequence[Picture], posts: Mapping[PostId, Post]) -> Order:
        followed = posts.get(post.follows) if post.follows else None
        original = None
        if followed is not None:
            key = OccurrenceKey(post=followed.id, label=ONCE)
            original = Original(title=followed.title, marker=marker_for(key, account.id))
        return Order(
            account=account,
            region=self.regions.get(account.region or "", NOWHERE),
            traits=self.adapters[account.id].traits,
            pictures=pictures,
            original=original,
        )

    def _objections(self, post: Post, rendition: Rendition, body_text: str) -> Iterable[Problem]:
        """Give what the account's platform has against a rendition."""
        adapter = self.adapters[rendition.account]
        for problem in adapter.check(rendition):
            yield _named(_keyed(problem, post, rendition, body_text), post, rendition.account)
        if post.is_urgent and not adapter.traits.notifies:
            yield _silent(post, rendition)

    def _pictures(self, post: Post) -> tuple[list[Picture], dict[str, tuple[str, bytes]], list[Problem]]:
        """Read the pictures of a post; what is wrong with one is told where the post names it."""
        pictures: list[Picture] = []
        media: dict[str, tuple[str, bytes]] = {}
        problems: list[Problem] = []
        files = [_file(self.workspace, item) for item in post.illustrations]
        for number, found in enumerate(read_pictures(files, self.templates.renderer) if files else ()):
            if isinstance(found, Problem):
                facts = {"file": post.illustrations[number].file, "key": f"images.{number}.file"}
                problems.append(_named(replace(found, place=None, facts={**found.facts, **facts}), post))
                continue
            picture, data = found
            pictures.append(picture)
            media[picture.sha256] = (picture.media_type, data)
        return pictures, media, problems

    def _cover(self, rendition: Rendition, media: Mapping[str, object]) -> Mapping[str, tuple[str, bytes]]:
        missing = [picture for picture in rendition.pictures if picture.sha256 not in media]
        return {
            picture.sha256: (picture.media_type, data)
            for picture in missing
            if (data := self.templates.image(picture.sha256)) is not None
        }


def _file(workspace: Path, item: Illustration) -> PictureFile:
    return PictureFile(path=workspace / item.file, alt=item.alt, below=workspace / Path(item.file).parts[0])


def _named(problem: Problem, post: Post, account: AccountId | None = None) -> Problem:
    facts = {"post": post.id, **({"account": account} if account else {}), **problem.facts}
    return replace(problem, facts=facts)


def _keyed(problem: Problem, post: Post, rendition: Rendition, body_text: str) -> Problem:
    """Name the key of the post that a platform's objection is about; its code names the part: weibo_text_too_long."""
    part = next((key for name, key in _PARTS.items() if f"_{name}" in problem.code), None)
    if part is None:
        return problem
    shown = rendition.summary if "_summary" in problem.code else rendition.text
    key = part or _longest(post, rendition, shown, body_text)
    return replace(problem, facts={"key": key, **problem.facts})


def _longest(post: Post, rendition: Rendition, shown: str, body: str) -> str:
    """Find the key of the longest of the words that staff wrote and that are shown: shortening starts there."""
    shown = shown.replace("\r\n", "\n")
    written = {f"text.{platform}": words for platform, words in post.words.items() if platform == rendition.platform}
    written |= {f"data.{key}": words for key, words in post.data.items() if isinstance(words, str)}
    lengths = {key: len(words) for key, words in written.items() if words.strip() in shown}
    if body and (body in shown or (rendition.summary and "<" in shown)):
        lengths["body"] = len(body)
    return max(lengths, key=lengths.__getitem__, default="id")


def _silent(post: Post, rendition: Rendition) -> Problem:
    facts = {"post": post.id, "key": "urgent", "platform": rendition.platform}
    return Problem(code="rendition_urgent_in_silence", severity=Severity.WARNING, facts=facts)


def _once_each(problems: Sequence[Problem]) -> tuple[Problem, ...]:
    """Tell what is wrong on fifty accounts alike only once, for the first of them."""
    seen: dict[object, Problem] = {}
    for problem in problems:
        facts = tuple(sorted((key, value) for key, value in problem.facts.items() if key != "account"))
        seen.setdefault((problem.code, problem.place, facts), problem)
    return tuple(seen.values())
