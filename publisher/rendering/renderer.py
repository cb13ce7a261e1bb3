"""Render posts: every account's final text and pictures, and all problems with them."""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import tzinfo
from itertools import islice
from pathlib import Path
from typing import Final

from publisher.contract import AdapterFactory
from publisher.domain.account import Account, AccountId, Capabilities, Platform
from publisher.domain.characters import describe_character, find_forbidden_characters
from publisher.domain.contacts import names_number
from publisher.domain.cover import CropPosition, cut_box, format_fractions
from publisher.domain.errors import Location, Problem, Severity, TemplateError
from publisher.domain.post import (
    ONCE_OCCURRENCE,
    Marker,
    Occurrence,
    OccurrenceKey,
    Post,
    PostId,
    PostImage,
    RenderedImage,
    RenderedPost,
    derive_marker,
    has_time,
)
from publisher.domain.values import print_values
from publisher.rendering.data_check import check_data
from publisher.rendering.images import (
    CleanPictures,
    FileState,
    PictureFile,
    PostPictures,
    find_file_state,
    read_pictures,
)
from publisher.rendering.jobs import (
    STYLESHEET,
    JobResult,
    ReadBody,
    RenderedText,
    RenderPage,
)
from publisher.rendering.layout import (
    CONTACTS_WITHOUT_TIP_LINE,
    LayoutFacts,
    lay_out,
)
from publisher.rendering.limits import find_excess
from publisher.rendering.templates import Templates
from publisher.rendering.text_split import split_text
from publisher.runtime.redaction import redact_text

NO_REGION: Mapping[str, str] = {}
_KEYS_BY_PART: Mapping[str, str] = {
    "title": "title", "picture": "images", "too_many_images": "images", "cover": "images",
    "summary": "", "text": "", "content": "",
}  # fmt: skip
"""Parts that adapters' problem codes name, with the post's key for each.

The key is empty if several keys make up the part.
"""
MARKER_WITHIN_CHARACTERS: Final = 60
"""Maximum distance in characters from a text's start to its marker.

Lists may show no more of a post.
"""
SUMMARY_CHARACTERS: Final = 54
"""How much of the body becomes the summary of an article without one."""
MAX_BODY_CHARACTERS: Final = 50_000
"""Twice the longest article's length, and little enough for deeply nested Markdown."""
MAX_BATCH_TEXTS: Final = 64
"""The number of texts that are rendered together.

Asking the renderer's process for each by itself would take most of the time.
"""
_NON_CHINESE_TEXT: Final = re.compile(
    r"[^\u2010-\u2027\u3000-\u30ff\u3400-\u9fff\uff00-\uff0f\uff1a-\uff20]+"
)
"""All but Chinese characters and punctuation.

No platform turns these into letters or digits.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class OriginalPost:
    """The earlier post that this one follows, as the same account published it."""

    title: str
    marker: Marker


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderTarget:
    """One account that publishes a post.

    It has the facts of its region and the post's pictures in order.
    """

    account: Account
    region: Mapping[str, str]
    capabilities: Capabilities
    pictures: Sequence[RenderedImage]
    original: OriginalPost | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderRequest:
    """One occurrence of a post, and the accounts that publish it."""

    post: Post
    occurrence: Occurrence
    targets: Sequence[RenderTarget]


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderResult:
    """The rendered posts of one occurrence, with pictures and all problems.

    The pictures' media type and bytes are kept by hash.
    """

    rendered_posts: tuple[RenderedPost, ...] = ()
    media: Mapping[str, tuple[str, bytes]] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PostRenderer:
    """All inputs of a rendered post besides the post. Reads picture files; changes nothing."""

    templates: Templates
    timezone: tzinfo
    staff_folder: Path
    """The folder of the pictures that a post names."""
    accounts: Mapping[AccountId, Account]
    factories: Mapping[Platform, AdapterFactory]
    regions: Mapping[str, Mapping[str, str]]
    older_markers: dict[tuple[PostId, AccountId], Marker] = field(default_factory=dict)
    """The markers of originals on accounts that were renamed since.

    No text that follows such an original may have its marker.
    """
    clean_pictures: CleanPictures = field(default_factory=CleanPictures)

    def render(
        self,
        post: Post,
        occurrence: Occurrence,
        accounts: Iterable[AccountId],
        posts: Mapping[PostId, Post],
    ) -> RenderResult:
        """Render one occurrence for these accounts, as render_all does."""
        [result] = self.render_all([(post, occurrence, accounts)], posts)
        return result

    def render_all(
        self,
        items: Iterable[tuple[Post, Occurrence, Iterable[AccountId]]],
        posts: Mapping[PostId, Post],
        *,
        with_media: bool = True,
    ) -> Iterator[RenderResult]:
        """Render occurrences for their accounts, in order.

        `posts` holds the posts they may follow, by id. A post with an unusable picture has no
        rendered posts, but its text is checked all the same. Without media the pictures of posts
        are only described, and their files are read if they have changed since the last time.
        """
        batch: list[tuple[RenderRequest, PostPictures]] = []
        for post, occurrence, accounts in items:
            pictures = self._read_pictures(post, with_media=with_media)
            targets = [
                self._render_target(post, self.accounts[account], pictures.shown, posts)
                for account in accounts
            ]
            batch.append(
                (
                    RenderRequest(post=post, occurrence=occurrence, targets=targets),
                    pictures,
                )
            )
            if (
                pictures.media
                or sum(len(request.targets) for request, _pictures in batch)
                >= MAX_BATCH_TEXTS
            ):
                yield from self._render_batch(batch)
                batch = []
        yield from self._render_batch(batch)

    def _render_batch(
        self, batch: Sequence[tuple[RenderRequest, PostPictures]]
    ) -> Iterator[RenderResult]:
        composed = compose(
            [request for request, _pictures in batch], self.templates, self.timezone
        )
        for (request, pictures), (body_text, found) in zip(
            batch, composed, strict=True
        ):
            yield self._check(request.post, pictures, found, body_text)

    def _check(
        self,
        post: Post,
        pictures: PostPictures,
        composed: Sequence[RenderedPost | TemplateError],
        body_text: str,
    ) -> RenderResult:
        """Return the rendered posts of one occurrence, with their platforms' problems."""
        problems, media = [*pictures.problems], {**pictures.media}
        rendered_posts: list[RenderedPost] = []
        for found in composed:
            if isinstance(found, TemplateError):
                problems += found.problems
                continue
            rendered_posts.append(found)
            for picture in found.images:
                if (
                    picture.sha256 not in media
                    and (cover := self.templates.cover_bytes(picture.sha256))
                    is not None
                ):
                    media[picture.sha256] = (picture.media_type, cover)
            account, factory = (
                self.accounts[found.account],
                self.factories[found.platform],
            )
            for problem in validate_rendered(factory, account, found):
                problems.append(
                    _with_post(
                        _with_key(problem, post, found, body_text), post, found.account
                    )
                )
            if post.is_urgent and not factory.capabilities(account).notifies_followers:
                facts = {"post": post.id, "key": "urgent", "platform": found.platform}
                problems.append(
                    Problem(
                        code="urgent_without_notification",
                        severity=Severity.WARNING,
                        facts=facts,
                    )
                )
        unique: dict[
            object, Problem
        ] = {}  # a problem that several accounts share is kept for the first of them
        for problem in problems:
            shared_facts = tuple(
                sorted(
                    (key, value)
                    for key, value in problem.facts.items()
                    if key != "account"
                )
            )
            unique.setdefault((problem.code, problem.location, shared_facts), problem)
        return RenderResult(
            rendered_posts=() if pictures.problems else tuple(rendered_posts),
            media=media,
            problems=tuple(unique.values()),
        )

    def _render_target(
        self,
        post: Post,
        account: Account,
        pictures: Sequence[RenderedImage],
        posts: Mapping[PostId, Post],
    ) -> RenderTarget:
        followed = posts.get(post.follows) if post.follows else None
        original = None
        if followed is not None:
            key = OccurrenceKey(post=followed.id, occurrence=ONCE_OCCURRENCE)
            marker = self.older_markers.get((followed.id, account.id)) or derive_marker(
                key, account.id
            )
            original = OriginalPost(title=followed.title, marker=marker)
        return RenderTarget(
            account=account,
            region=self.regions.get(account.region or "", NO_REGION),
            capabilities=self.factories[account.platform].capabilities(account),
            pictures=pictures,
            original=original,
        )

    def find_picture_states(self, post: Post) -> Sequence[FileState | None]:
        """Return the state of each picture's file of a post.

        While the states are the same, so is each problem with them.
        """
        return [find_file_state(self._find_picture(item)) for item in post.images]

    def describe_picture(self, item: PostImage) -> RenderedImage | Problem:
        """Return a picture's size and hash, or the reason why it cannot be used."""
        return self.clean_pictures.describe(
            self._find_picture(item), self.templates.renderer
        )

    def _find_picture(self, item: PostImage) -> PictureFile:
        path, folder = (
            self.staff_folder / item.file,
            self.staff_folder / Path(item.file).parts[0],
        )
        return PictureFile(path=path, alt=item.alt, trusted_root=folder)

    def _read_pictures(self, post: Post, *, with_media: bool) -> PostPictures:
        """Read the pictures of a post; a problem with one names the post's key."""
        pictures = read_pictures(
            [self._find_picture(item) for item in post.images],
            self.templates.renderer,
            self.clean_pictures,
            with_media=with_media,
        )
        problems = [_with_post(problem, post) for problem in pictures.problems]
        return replace(pictures, problems=problems)


def crop_cover(
    post: Post, pictures: Sequence[RenderedImage]
) -> tuple[RenderedImage, ...]:
    """Return the pictures of an article. The first is the cover, cut as the post says."""
    if not (pictures and post.images):
        return tuple(pictures)
    cover, *others = pictures
    wanted = post.images[0]
    cover = replace(
        cover,
        crop_wide=_format_crop(cover, "wide", wanted.crop_wide),
        crop_square=_format_crop(cover, "square", wanted.crop_square),
    )
    return (cover, *others)


def _format_crop(
    cover: RenderedImage, shape: str, position: CropPosition | None
) -> str:
    if position is None:
        return ""
    box = cut_box(cover.width, cover.height, shape, position)
    return format_fractions(box, cover.width, cover.height)


def validate_rendered(
    factory: AdapterFactory, account: Account, rendered: RenderedPost
) -> Sequence[Problem]:
    """Return the problems that the platform would refuse.

    A bug in its adapter refuses the post, and does not stop the others.
    """
    try:
        return tuple(factory.validate(account, rendered))
    except Exception as error:  # noqa: BLE001 # a package's own code, whatever it raises
        text = redact_text(f"{type(error).__name__}: {error}")
        return [
            Problem(
                code="adapter_validate_failed",
                facts={"platform": account.platform, "error": text},
            )
        ]


def _with_post(
    problem: Problem, post: Post, account: AccountId | None = None
) -> Problem:
    facts = {
        "post": post.id,
        **({"account": account} if account else {}),
        **problem.facts,
    }
    return replace(problem, facts=facts)


def _with_key(
    problem: Problem, post: Post, rendered: RenderedPost, body_text: str
) -> Problem:
    """Add the post's key to a platform's problem.

    The problem's code names the part, as in NAME_text_too_long.
    """
    key = next(
        (key for name, key in _KEYS_BY_PART.items() if f"_{name}" in problem.code), None
    )
    if key is None:
        return problem
    if not key:  # the longest text of the post that is shown: shortening starts there
        shown = (
            rendered.summary if "_summary" in problem.code else rendered.text
        ).replace("\r\n", "\n")
        written = {
            f"data.{name}": words
            for name, words in post.data.items()
            if isinstance(words, str)
        }
        if rendered.platform in post.text_by_platform:
            written = {
                f"text.{rendered.platform}": post.text_by_platform[rendered.platform],
                **written,
            }
        lengths = {
            name: len(words)
            for name, words in written.items()
            if words.strip() in shown
        }
        if body_text and (body_text in shown or (rendered.summary and "<" in shown)):
            lengths["body"] = len(body_text)
        key = max(lengths, key=lengths.__getitem__, default="id")
    return replace(problem, facts={"key": key, **problem.facts})


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderContext:
    """The known facts of one rendered post before it is rendered. `page` is the template's file."""

    post: Post
    target: RenderTarget
    templates: Templates
    page: str
    marker: Marker
    link: str | None
    data: Mapping[str, object]
    """The post's data, as it is printed."""
    form: Mapping[str, object]
    """The parts that the shared pages print."""

    @property
    def account(self) -> Account:
        return self.target.account

    def problem(
        self,
        code: str,
        place: Location | None = None,
        key: str | None = None,
        **facts: str,
    ) -> Problem:
        """Return a problem at a place, at the post's key, or else in the template."""
        if key is not None:
            facts["key"] = key
        elif place is None:
            place = self.templates.location(self.page)
        return _problem(self.post, self.account, code, place, **facts)


def compose(
    requests: Sequence[RenderRequest], templates: Templates, timezone: tzinfo
) -> list[tuple[str, Sequence[RenderedPost | TemplateError]]]:
    """Return each post's body as plain text, and the rendered posts of its targets. Pure.

    Equal arguments give equal bytes. There is a TemplateError instead for a target if its template
    fails or its text carries a secret. The same holds if its text lacks its marker or (except in a
    correction) the region's tip line. Its problems name the post, the account and the template's
    line.
    """
    prepared = [
        [
            prepare(item.post, item.occurrence, each, templates, timezone)
            for each in item.targets
        ]
        for item in requests
    ]
    bodies: list[JobResult] = [RenderedText(text="")] * len(requests)
    written: dict[str, list[int]] = defaultdict(list)
    for number, contexts in enumerate(prepared):
        body = requests[number].post.body
        if body and any(isinstance(context, RenderContext) for context in contexts):
            written[body].append(number)
    # all bodies first: one that costs the renderer's process must not cost it again with each page
    read = templates.renderer.run([ReadBody(body=body) for body in written])
    for numbers, result in zip(written.values(), read, strict=True):
        for number in numbers:
            bodies[number] = result
    jobs = [
        make_render_job(context, item.occurrence, timezone, body.text)
        for item, contexts, body in zip(requests, prepared, bodies, strict=True)
        for context in contexts
        if isinstance(context, RenderContext) and isinstance(body, RenderedText)
    ]
    rendered = iter(templates.renderer.run(jobs))

    def finish(
        context: RenderContext | TemplateError, body: JobResult
    ) -> RenderedPost | TemplateError:
        if isinstance(context, TemplateError):
            return context
        if not isinstance(body, RenderedText):
            return _finish(context, body, "")
        return _finish(context, next(rendered), body.text)

    return [
        (
            body.text if isinstance(body, RenderedText) else "",
            [finish(context, body) for context in contexts],
        )
        for contexts, body in zip(prepared, bodies, strict=True)
    ]


def prepare(
    post: Post,
    occurrence: Occurrence,
    target: RenderTarget,
    templates: Templates,
    timezone: tzinfo,
) -> RenderContext | TemplateError:
    """Choose the template's page for an account.

    Check that post, template and region have all that it needs.
    """
    account, sample = target.account, templates.samples.get(post.template)
    if sample is None:
        return TemplateError(
            [
                _problem(
                    post, account, "template_unknown", known="、".join(templates.names)
                )
            ]
        )
    if faults := templates.problems_of(post.template):
        return TemplateError(
            [_problem(post, account, "template_invalid", key="template"), *faults]
        )
    context = _make_context(post, occurrence, target, templates, timezone)
    if isinstance(context, TemplateError):
        return context
    if target.capabilities.is_article and STYLESHEET in templates.faults:
        return TemplateError(
            [
                context.problem("template_part_invalid", part=STYLESHEET),
                *templates.faults[STYLESHEET],
            ]
        )
    if len(post.body) > MAX_BODY_CHARACTERS:
        length, limit = str(len(post.body)), str(MAX_BODY_CHARACTERS)
        return TemplateError(
            [
                context.problem(
                    "post_body_too_long", key="body", length=length, limit=limit
                )
            ]
        )
    if excess := find_excess(post):
        key, code, facts = excess
        return TemplateError([context.problem(code, None, key, **facts)])
    needs = {"tip_line": "region_without_tip_line", "police": "region_without_police"}
    if missing := [code for key, code in needs.items() if not target.region.get(key)]:
        facts = {"account": account.id, "region": account.region or ""}
        return TemplateError([Problem(code=code, facts=facts) for code in missing])
    return context


def _make_context(
    post: Post,
    occurrence: Occurrence,
    target: RenderTarget,
    templates: Templates,
    timezone: tzinfo,
) -> RenderContext | TemplateError:
    """Return the known facts of a rendered post, or the problems of its data."""
    sample, account = templates.samples[post.template], target.account
    page = templates.page_for(post.template, account.platform, target.capabilities)
    if page is None:
        problem = _problem(
            post, account, "template_without_page", platform=account.platform
        )
        return TemplateError([problem])
    due = occurrence.due_at.astimezone(timezone).date()
    data, refused = print_values(sample.forms, post.data, due)
    layout = LayoutFacts(
        post=post,
        data=data,
        region=target.region,
        original=target.original.title if target.original else "",
        words=post.text_by_platform.get(account.platform, ""),
        due=due,
    )
    marker = derive_marker(occurrence.key, account.id)
    context = RenderContext(
        post=post,
        target=target,
        templates=templates,
        page=page,
        marker=marker,
        link=build_link(account, target.region, marker),
        data=data,
        form=lay_out(sample.outline, layout, templates.contacts),
    )
    found = check_data(sample, layout, refused, templates.contacts, timezone)
    if not found:
        return context
    return TemplateError(
        [context.problem(code, None, key, **facts) for key, code, facts in found]
    )


def _finish(
    context: RenderContext, result: JobResult, body_text: str
) -> RenderedPost | TemplateError:
    """Return the rendered post from the renderer's result, or the problem with it."""
    if isinstance(result, Problem):
        include_problems = context.templates.faults.get(
            result.facts.get("part", ""), ()
        )
        return TemplateError(
            [
                context.problem(result.code, result.location, **result.facts),
                *include_problems,
            ]
        )
    if not isinstance(result, RenderedText):
        raise TypeError(type(result).__name__)
    capabilities, link, post = context.target.capabilities, context.link, context.post
    pictures, summary = tuple(context.target.pictures), ""
    picture_count = min(len(pictures), capabilities.picture_limit)
    first, *more = split_text(result.text, context.marker, capabilities, picture_count)
    if capabilities.is_article:  # its first picture is the cover
        cover = context.templates.cover(post.template)
        pictures = crop_cover(post, pictures) or ((cover,) if cover else ())
        own = post.text_by_platform.get(context.account.platform) or context.data.get(
            "summary", str(context.form["lead"]).partition("。")[0]
        )
        summary = (
            own.strip()
            if isinstance(own, str) and own
            else body_text.partition("\n")[0][:SUMMARY_CHARACTERS]
        )
    else:
        pictures = pictures[: capabilities.picture_limit]
    rendered = RenderedPost(
        account=context.account.id,
        platform=context.account.platform,
        marker=context.marker,
        title=post.title,
        text=first,
        extra_parts=tuple(more),
        summary=summary,
        link=link
        if link and (capabilities.is_article or link in result.text)
        else None,
        images=pictures,
    )
    visible = (
        result.visible if capabilities.is_article else "\n".join(rendered.all_parts)
    )
    problems = _content_problems(context, rendered, visible, body_text)
    return TemplateError(problems) if problems else rendered


def build_link(
    account: Account, region: Mapping[str, str], marker: Marker
) -> str | None:
    """Return the account's link for a delivery, else the region's page for tips.

    Both carry the marker.
    """
    link = account.link_template or region.get("tip_link")
    if not link:
        return None
    if "{marker}" in link:
        return link.replace("{marker}", marker.code)
    page, hash_sign, fragment = link.partition("#")
    return f"{page}{'&' if '?' in page else '?'}n={marker.code}{hash_sign}{fragment}"


def make_render_job(
    context: RenderContext, occurrence: Occurrence, timezone: tzinfo, body_text: str
) -> RenderPage:
    """Return the job of one page. `body_text` is the post's body as plain text."""
    post, account, target = context.post, context.account, context.target
    variables: dict[str, object] = {
        "post": {
            "id": post.id,
            "kind": post.kind.value,
            "topic": post.kind.traits.topic,
            "tone": post.kind.traits.tone,
            "level": post.level.value if post.level else None,
            "title": post.title,
            "author": post.author,
        },
        "data": context.data,
        "form": context.form,
        "region": target.region,
        "account": {
            "id": account.id,
            "platform": account.platform,
            "forum": account.forum,
            "has_title": target.capabilities.has_title,
        },
        "marker": context.marker.code,
        "link": context.link,
        "words": post.text_by_platform.get(account.platform),
        "original": {"title": target.original.title} if target.original else None,
        "due_at": occurrence.due_at.astimezone(timezone),
        "has_time": has_time(post.trigger),
        "body_text": body_text,
    }
    if target.capabilities.is_article:
        variables["pictures"] = [
            {
                "source": f"media:{picture.sha256}",
                "alt": picture.alt,
                "width": str(picture.width),
            }
            for picture in target.pictures
        ]
    return RenderPage(
        page=context.page,
        variables=variables,
        body=post.body,
        is_article=target.capabilities.is_article,
        line_ending=target.capabilities.line_ending,
    )


def _content_problems(
    context: RenderContext, rendered: RenderedPost, visible: str, body_text: str
) -> Sequence[Problem]:
    """Return the required parts that a text lacks, and the forbidden parts that it carries."""
    target, marker = context.target, rendered.marker
    is_article, tip_line = target.capabilities.is_article, target.region["tip_line"]
    alts = [picture.alt for picture in rendered.images]
    problems = _odd_character_problems(context, rendered, body_text)
    if not _contains_marker(visible, marker):
        problems.append(
            context.problem(
                "rendered_without_marker", limit=str(MARKER_WITHIN_CHARACTERS)
            )
        )
    elif not is_article and not _contains_marker(
        visible[:MARKER_WITHIN_CHARACTERS], marker
    ):
        problems.append(
            context.problem(
                "rendered_marker_too_late",
                key="title",
                limit=str(MARKER_WITHIN_CHARACTERS),
            )
        )
    if is_article and not _contains_marker(rendered.link or "", marker):
        problems.append(context.problem("rendered_without_marked_link"))
    contacts = context.templates.samples[context.post.template].outline.contacts
    needs_tip_line = (
        contacts not in CONTACTS_WITHOUT_TIP_LINE
        and context.post.kind.traits.names_tip_line
    )
    if needs_tip_line and not names_number(visible, tip_line):
        problems.append(context.problem("rendered_without_tip_line", tip_line=tip_line))
    if target.original and _contains_marker(visible, target.original.marker):
        problems.append(
            context.problem(
                "rendered_with_foreign_marker", marker=target.original.marker.code
            )
        )
    if _contains_secret(
        rendered.title,
        *rendered.all_parts,
        rendered.summary,
        rendered.link or "",
        *alts,
    ):
        # name the post's key that has the secret, else the template; never quote it
        post = context.post
        written = {"title": post.title, "body": post.body}
        written[f"text.{rendered.platform}"] = post.text_by_platform.get(
            rendered.platform, ""
        )
        written |= {
            f"data.{key}": json.dumps(each, ensure_ascii=False, default=str)
            for key, each in post.data.items()
        }
        written |= {
            f"images.{number}.alt": item.alt for number, item in enumerate(post.images)
        }
        key = next(
            (key for key, text in written.items() if _contains_secret(text)), None
        )
        problems.append(context.problem("rendered_with_secret", key=key))
    return problems


def _contains_secret(*texts: str) -> bool:
    """Return True if a log would redact any part of these texts."""
    together = "\n".join(filter(None, texts))
    return redact_text(together) != together


def _odd_character_problems(
    context: RenderContext, rendered: RenderedPost, body_text: str
) -> list[Problem]:
    """Return the first invisible character of each field, at the body or else at the template.

    The schedule is checked before; an entity in Markdown or an escape in a template becomes a
    character only here.
    """
    parts = {
        "title": rendered.title,
        "text": "\n".join(rendered.all_parts),
        "summary": rendered.summary,
        "link": rendered.link or "",
        "alt": "\n".join(picture.alt for picture in rendered.images),
    }
    found = [
        (part, describe_character(text[position]))
        for part, text in parts.items()
        for position in islice(find_forbidden_characters(text), 1)
    ]
    is_in_body = (
        bool(found) and next(find_forbidden_characters(body_text), None) is not None
    )
    key, code = "body" if is_in_body else None, "rendered_invisible_character"
    return [
        context.problem(code, key=key, part=part, character=character)
        for part, character in found
    ]


def _contains_marker(text: str, marker: Marker) -> bool:
    """Return True if a text carries a marker.

    Normalizing is slow, so Chinese text is left out first.
    """
    return marker.code in text or (
        marker.is_in("".join(_NON_CHINESE_TEXT.findall(text))) and marker.is_in(text)
    )


def _problem(
    post: Post, account: Account, code: str, place: Location | None = None, **facts: str
) -> Problem:
    named = {"post": post.id, "account": account.id, "template": post.template}
    return Problem(code=code, location=place, facts={**named, **facts})
