"""Render posts: every account's final text and pictures, and all problems with them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import tzinfo
from pathlib import Path

from publisher.contract import AdapterFactory
from publisher.domain.account import Account, AccountId, Platform
from publisher.domain.errors import Problem, Severity, TemplateError
from publisher.domain.post import (
    ONCE_OCCURRENCE,
    Occurrence,
    OccurrenceKey,
    Post,
    PostId,
    RenderedImage,
    RenderedPost,
    derive_marker,
)
from publisher.rendering.compose import OriginalPost, RenderTarget, compose
from publisher.rendering.images import PictureFile, read_picture
from publisher.rendering.templates import Templates

NO_REGION: Mapping[str, str] = {}
_KEYS_BY_PART: Mapping[str, str] = {
    "title": "title", "picture": "images", "cover": "images", "summary": "", "text": "", "content": "",
}  # fmt: skip
"""Parts that adapters' problem codes name, and the post's key for each; empty if several keys make up the part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderResult:
    """The rendered posts of one occurrence, their pictures' media type and bytes by hash, and all problems."""

    rendered_posts: tuple[RenderedPost, ...] = ()
    media: Mapping[str, tuple[str, bytes]] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PostRenderer:
    """All that a rendered post depends on besides the post. Reads picture files; changes nothing."""

    templates: Templates
    timezone: tzinfo
    workspace: Path
    accounts: Mapping[AccountId, Account]
    factories: Mapping[Platform, AdapterFactory]
    regions: Mapping[str, Mapping[str, str]]

    def render(
        self,
        post: Post,
        occurrence: Occurrence,
        accounts: Iterable[AccountId],
        posts: Mapping[PostId, Post],
    ) -> RenderResult:
        """Render an occurrence for these accounts. `posts` holds the posts it may follow, by id.

        A post with an unusable picture has no rendered posts, but its text is checked all the same.
        """
        pictures, media, problems = self._read_pictures(post)
        has_all_pictures = not problems
        targets = [self._render_target(post, self.accounts[account], pictures, posts) for account in accounts]
        composition = compose(post, occurrence, targets, self.templates, self.timezone)
        rendered_posts: list[RenderedPost] = []
        for found in composition.rendered_posts:
            if isinstance(found, TemplateError):
                problems += found.problems
                continue
            rendered_posts.append(found)
            for picture in found.images:
                if picture.sha256 not in media and (cover := self.templates.cover_bytes(picture.sha256)) is not None:
                    media[picture.sha256] = (picture.media_type, cover)
            account, factory = self.accounts[found.account], self.factories[found.platform]
            for problem in factory.validate(account, found):
                problems.append(_with_post(_with_key(problem, post, found, composition.body_text), post, found.account))
            if post.is_urgent and not factory.capabilities(account).notifies_followers:
                facts = {"post": post.id, "key": "urgent", "platform": found.platform}
                problems.append(Problem(code="urgent_without_notification", severity=Severity.WARNING, facts=facts))
        return RenderResult(
            rendered_posts=tuple(rendered_posts) if has_all_pictures else (),
            media=media,
            problems=_deduplicate(problems),
        )

    def _render_target(
        self, post: Post, account: Account, pictures: Sequence[RenderedImage], posts: Mapping[PostId, Post]
    ) -> RenderTarget:
        followed = posts.get(post.follows) if post.follows else None
        original = None
        if followed is not None:
            key = OccurrenceKey(post=followed.id, occurrence=ONCE_OCCURRENCE)
            original = OriginalPost(title=followed.title, marker=derive_marker(key, account.id))
        return RenderTarget(
            account=account,
            region=self.regions.get(account.region or "", NO_REGION),
            capabilities=self.factories[account.platform].capabilities(account),
            pictures=pictures,
            original=original,
        )

    def _read_pictures(self, post: Post) -> tuple[list[RenderedImage], dict[str, tuple[str, bytes]], list[Problem]]:
        """Read the pictures of a post; a problem with one names the post's key."""
        pictures: list[RenderedImage] = []
        media: dict[str, tuple[str, bytes]] = {}
        problems: list[Problem] = []
        for number, item in enumerate(post.images):
            path = self.workspace / item.file
            file = PictureFile(path=path, alt=item.alt, trusted_root=self.workspace / Path(item.file).parts[0])
            found = read_picture(file, self.templates.renderer)
            if isinstance(found, Problem):
                facts = {"file": item.file, "key": f"images.{number}.file"}
                problems.append(_with_post(replace(found, location=None, facts={**found.facts, **facts}), post))
                continue
            picture, data = found
            pictures.append(picture)
            media[picture.sha256] = (picture.media_type, data)
        return pictures, media, problems


def _with_post(problem: Problem, post: Post, account: AccountId | None = None) -> Problem:
    facts = {"post": post.id, **({"account": account} if account else {}), **problem.facts}
    return replace(problem, facts=facts)


def _with_key(problem: Problem, post: Post, rendered: RenderedPost, body_text: str) -> Problem:
    """Add the post's key to a platform's problem, whose code names the part, as in weibo_text_too_long."""
    key = next((key for name, key in _KEYS_BY_PART.items() if f"_{name}" in problem.code), None)
    if key is None:
        return problem
    if not key:  # the longest text of the post that is shown: shortening starts there
        shown = (rendered.summary if "_summary" in problem.code else rendered.text).replace("\r\n", "\n")
        written = {f"data.{name}": words for name, words in post.data.items() if isinstance(words, str)}
        if rendered.platform in post.text_by_platform:
            written = {f"text.{rendered.platform}": post.text_by_platform[rendered.platform], **written}
        lengths = {name: len(words) for name, words in written.items() if words.strip() in shown}
        if body_text and (body_text in shown or (rendered.summary and "<" in shown)):
            lengths["body"] = len(body_text)
        key = max(lengths, key=lengths.__getitem__, default="id")
    return replace(problem, facts={"key": key, **problem.facts})


def _deduplicate(problems: Sequence[Problem]) -> tuple[Problem, ...]:
    """Keep a problem that several accounts share only once, for the first of them."""
    seen: dict[object, Problem] = {}
    for problem in problems:
        facts = tuple(sorted((key, value) for key, value in problem.facts.items() if key != "account"))
        seen.setdefault((problem.code, problem.location, facts), problem)
    return tuple(seen.values())
