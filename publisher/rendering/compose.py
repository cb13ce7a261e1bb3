"""From a post, an instant and its accounts to the exact words that each account will say."""

import json
import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Final

from publisher.domain.account import Account, Capabilities
from publisher.domain.characters import describe_character, find_forbidden_characters
from publisher.domain.errors import Location, Problem, TemplateError
from publisher.domain.post import Occurrence, Post
from publisher.domain.rendered import Marker, RenderedImage, RenderedPost, derive_marker, format_part_prefix
from publisher.rendering.jobs import JobResult, ReadBody, RenderedText, RenderPage
from publisher.rendering.templates import STYLESHEET, Templates, TemplateSample
from publisher.runtime.redaction import redact_text

_SPLIT_POINTS: Final = (
    re.compile(r"(?:\r?\n){2,}"),
    re.compile(r"\r?\n"),
    re.compile(r"(?<=[。！？；])(?![。！？；”’」』）])|(?<=[。！？；][”’」』）])"),
)
"""Where a text may be parted, the best places first: between paragraphs, lines, sentences. Never inside a sentence."""


def split_text(text: str, marker: Marker, capabilities: Capabilities) -> Sequence[str]:
    """Part a text into as few floors as hold it; whole where it fits, or where even the most floors do not hold it."""
    max_length = capabilities.text_limit * (capabilities.max_extra_parts + 1)
    if (
        capabilities.text_limit < capabilities.count_text(text) <= 2 * max_length
    ):  # half of it may be empty lines, which go at borders
        for total in range(2, capabilities.max_extra_parts + 2):
            if parts := _split_into(text, marker, total, capabilities):
                return parts
    return (text,)


def _split_into(text: str, marker: Marker, total: int, capabilities: Capabilities) -> Sequence[str] | None:
    """Give exactly so many floors, each as full as its borders allow; None where that does not do."""
    line_end = "\r\n" if "\r\n" in text else "\n"
    parts, rest = [], text
    for number in range(1, total):
        head = f"{format_part_prefix(marker, number, total)}{line_end}" if number > 1 else ""
        part = _take_first(rest, capabilities.text_limit - capabilities.count_text(head), capabilities)
        if not part:
            return None
        parts.append(head + part)
        rest = rest[len(part) :].lstrip()
    parts.append(f"{format_part_prefix(marker, total, total)}{line_end}{rest}")
    return parts if rest and capabilities.count_text(parts[-1]) <= capabilities.text_limit else None


def _take_first(text: str, max_length: int, capabilities: Capabilities) -> str:
    """Give as much of a text as there is room for, up to a border: a lesser border where a better one wastes half."""
    starts = []
    for border in _SPLIT_POINTS:
        ends = [match.start() for match in border.finditer(text)]
        fitting = bisect_right(ends, max_length, key=lambda end: capabilities.count_text(text[:end]))
        start = text[: ends[fitting - 1]] if fitting else ""
        if capabilities.count_text(start) * 2 >= max_length:
            return start
        starts.append(start)
    return max(starts, key=len)


MARKER_WITHIN_CHARACTERS: Final = 60
"""Within how many characters of its start a text must carry its marker; lists may show no more of a post."""
SUMMARY_CHARACTERS: Final = 54
"""How much of a body stands for an article that has no summary: what WeChat itself would take."""
MAX_BODY_CHARACTERS: Final = 50_000
"""Characters of a body: twice what the longest article takes, and little enough for Markdown that nests and nests."""
_CRLF_PLATFORMS: Final = frozenset({"tieba"})
"""Where lines end in CR LF, as the platform's own web editor joins them."""
_NON_CHINESE_TEXT: Final = re.compile(r"[^\u2010-\u2027\u3000-\u30ff\u3400-\u9fff\uff00-\uff0f\uff1a-\uff20]+")
"""All but Chinese characters and punctuation, which no platform's rewriting turns into letters or digits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OriginalPost:
    """The earlier post that this one answers, as the same account published it."""

    title: str
    marker: Marker


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderTarget:
    """One account that is to say a post, with the facts of its region and the post's pictures, in their order."""

    account: Account
    region: Mapping[str, str]
    capabilities: Capabilities
    pictures: Sequence[RenderedImage]
    original: OriginalPost | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Composition:
    """The post's body as plain text, and for each order the rendition, or why there is none."""

    body_text: str
    rendered_posts: Sequence[RenderedPost | TemplateError]


@dataclass(frozen=True, slots=True, kw_only=True)
class _RenderContext:
    """One rendition in the making: what is said, by whom, and with what. `page` is the template's file."""

    post: Post
    target: RenderTarget
    templates: Templates
    page: str
    marker: Marker
    link: str | None

    @property
    def account(self) -> Account:
        return self.target.account

    def problem(self, code: str, place: Location | None = None, **facts: str) -> Problem:
        return _problem(self.post, self.account, code, place or self.templates.location(self.page), **facts)


def compose(
    post: Post, occurrence: Occurrence, targets: Sequence[RenderTarget], templates: Templates, timezone: tzinfo
) -> Composition:
    """Write what accounts will say of one occurrence. Pure: the same arguments give the same bytes.

    There is a TemplateError where the template fails, or where the text lacks its marker or the region's tip line, or
    carries a secret; its problems name the post, the account and the template's line.
    """
    contexts = [_prepare(post, occurrence, order, templates) for order in targets]
    valid = [task for task in contexts if isinstance(task, _RenderContext)]
    jobs = [_render_job(task, occurrence, timezone) for task in valid]
    body = templates.renderer.run([ReadBody(body=post.body)])[0] if valid else RenderedText(text="")
    body_text = body.text if isinstance(body, RenderedText) else ""
    rendered = iter(templates.renderer.run(jobs) if isinstance(body, RenderedText) else [body] * len(valid))
    return Composition(
        body_text=body_text,
        rendered_posts=[
            _finish(task, next(rendered), body_text) if isinstance(task, _RenderContext) else task for task in contexts
        ],
    )


def _prepare(
    post: Post, occurrence: Occurrence, target: RenderTarget, templates: Templates
) -> _RenderContext | TemplateError:
    """Find the page, and see that all is there that it needs."""
    account = target.account
    marker = derive_marker(occurrence.key, account.id)
    try:
        page = _find_page(post, account, templates)
    except TemplateError as error:
        return error
    task = _RenderContext(
        post=post,
        target=target,
        templates=templates,
        page=page,
        marker=marker,
        link=build_link(account, target.region, marker),
    )
    if target.capabilities.is_article and STYLESHEET in templates.faults:
        return TemplateError([task.problem("template_part_invalid", part=STYLESHEET), *templates.faults[STYLESHEET]])
    if len(post.body) > MAX_BODY_CHARACTERS:
        length, limit = str(len(post.body)), str(MAX_BODY_CHARACTERS)
        return TemplateError([_problem(post, account, "post_body_too_long", key="body", length=length, limit=limit)])
    if not target.region.get("tip_line"):
        facts = {"account": account.id, "region": account.region or ""}
        return TemplateError([Problem(code="region_without_tip_line", facts=facts)])
    return task


def _finish(task: _RenderContext, result: JobResult, body_text: str) -> RenderedPost | TemplateError:
    """Make a rendition of what was rendered, or say what is wrong with it."""
    if isinstance(result, Problem):
        include_problems = task.templates.faults.get(result.facts.get("part", ""), ())
        return TemplateError([task.problem(result.code, result.location, **result.facts), *include_problems])
    if not isinstance(result, RenderedText):
        raise TypeError(type(result).__name__)
    capabilities, link, post = task.target.capabilities, task.link, task.post
    first, *more = split_text(result.text, task.marker, capabilities)
    rendered = RenderedPost(
        account=task.account.id,
        platform=task.account.platform,
        marker=task.marker,
        title=post.title,
        text=first,
        extra_parts=tuple(more),
        summary=_summary(task, body_text) if capabilities.is_article else "",
        link=link if link and (capabilities.is_article or link in result.text) else None,
        images=_select_pictures(task),
    )
    seen = result.visible if capabilities.is_article else "\n".join(rendered.all_parts)
    problems = _content_problems(task, rendered, seen, body_text)
    return TemplateError(problems) if problems else rendered


def build_link(account: Account, region: Mapping[str, str], marker: Marker) -> str | None:
    """Give the account's link for a delivery, else the region's page for tips; either carries the marker."""
    link = account.link_template or region.get("tip_link")
    if not link:
        return None
    if "{marker}" in link:
        return link.replace("{marker}", marker.code)
    page, hash_sign, fragment = link.partition("#")
    return f"{page}{'&' if '?' in page else '?'}n={marker.code}{hash_sign}{fragment}"


def _find_page(post: Post, account: Account, templates: Templates) -> str:
    """Find the page to use, and see that the post brings the data its template needs."""
    sample = templates.samples.get(post.template)
    if sample is None:
        raise TemplateError([_problem(post, account, "template_unknown", known="、".join(templates.names))])
    if faults := templates.problems_of(post.template):
        raise TemplateError([_problem(post, account, "template_invalid", key="template"), *faults])
    page = templates.page_for(post.template, account.platform)
    if page is None:
        raise TemplateError([_problem(post, account, "template_without_page", platform=account.platform)])
    if problems := _data_problems(post, account, sample):
        raise TemplateError(problems)
    return page


def _data_problems(post: Post, account: Account, sample: TemplateSample) -> list[Problem]:
    """Name the data that a post lacks, and what is not of the kind that its template takes."""
    lacking = [
        _problem(post, account, "template_data_missing", key=f"data.{name}", name=name, use=sample.needs[name])
        for name in sample.missing_keys(post.data)
    ]
    misfits = [
        _problem(post, account, "template_data_wrong", key=f"data.{name}", name=name, example=example)
        for name, example in sample.mismatched_keys(post.data).items()
    ]
    return [*lacking, *misfits]


def _render_job(task: _RenderContext, occurrence: Occurrence, timezone: tzinfo) -> RenderPage:
    post, account, order = task.post, task.account, task.target
    variables: dict[str, object] = {
        "post": {
            "id": post.id,
            "kind": post.kind.value,
            "level": post.level.value if post.level else None,
            "title": post.title,
            "author": post.author,
        },
        "data": post.data,
        "region": {"police": f"{order.region.get('name', '')}警方", **order.region},
        "account": {"id": account.id, "platform": account.platform, "forum": account.forum},
        "marker": task.marker.code,
        "link": task.link,
        "words": post.text_by_platform.get(account.platform),
        "original": {"title": order.original.title} if order.original else None,
        "due_at": occurrence.due_at.astimezone(timezone),
    }
    if order.capabilities.is_article:
        variables["pictures"] = [_picture_variables(picture) for picture in order.pictures]
    return RenderPage(
        page=task.page,
        variables=variables,
        body=post.body,
        is_article=order.capabilities.is_article,
        uses_crlf=account.platform in _CRLF_PLATFORMS,
    )


def _picture_variables(picture: RenderedImage) -> Mapping[str, str]:
    return {"source": f"media:{picture.sha256}", "alt": picture.alt, "width": str(picture.width)}


def _select_pictures(task: _RenderContext) -> tuple[RenderedImage, ...]:
    """Give the pictures that go along: an article's cover comes first, elsewhere as many as the platform takes."""
    pictures, capabilities = task.target.pictures, task.target.capabilities
    if not capabilities.is_article:
        return tuple(pictures[: capabilities.picture_limit])
    cover = task.templates.cover(task.post.template)
    return tuple(pictures) or ((cover,) if cover else ())


def _summary(task: _RenderContext, body_text: str) -> str:
    summary = task.post.text_by_platform.get(task.account.platform) or task.post.data.get("summary")
    return summary.strip() if isinstance(summary, str) else body_text.partition("\n")[0][:SUMMARY_CHARACTERS]


def _content_problems(task: _RenderContext, rendered: RenderedPost, visible: str, body_text: str) -> Sequence[Problem]:
    """Name what every text must carry and this one lacks, and what it must not carry."""
    order, marker = task.target, rendered.marker
    is_article, tip_line = order.capabilities.is_article, order.region["tip_line"]
    alts = [picture.alt for picture in rendered.images]
    problems = _odd_character_problems(task, rendered, body_text)
    if not _contains_marker(visible, marker):
        problems.append(task.problem("rendered_without_marker", limit=str(MARKER_WITHIN_CHARACTERS)))
    elif not is_article and not _contains_marker(visible[:MARKER_WITHIN_CHARACTERS], marker):
        problems.append(
            _problem(
                task.post, task.account, "rendered_marker_too_late", key="title", limit=str(MARKER_WITHIN_CHARACTERS)
            )
        )
    if is_article and not _contains_marker(rendered.link or "", marker):
        problems.append(task.problem("rendered_without_marked_link"))
    if tip_line not in visible:
        problems.append(task.problem("rendered_without_tip_line", tip_line=tip_line))
    if order.original and _contains_marker(visible, order.original.marker):
        problems.append(task.problem("rendered_with_foreign_marker", marker=order.original.marker.code))
    if _contains_secret(rendered.title, *rendered.all_parts, rendered.summary, rendered.link or "", *alts):
        problems.append(_secret_problem(task))
    return problems


def _contains_secret(*texts: str) -> bool:
    """Whether a log would strike out any part of these texts."""
    return any(redact_text(text) != text for text in texts)


def _secret_problem(task: _RenderContext) -> Problem:
    """Refuse a text with a secret, at the key of the post that brings it, else at the template; it is not repeated."""
    post = task.post
    own = post.text_by_platform.get(task.account.platform, "")
    written = {"title": post.title, "body": post.body, f"text.{task.account.platform}": own}
    written |= {f"data.{key}": json.dumps(value, ensure_ascii=False, default=str) for key, value in post.data.items()}
    written |= {f"images.{number}.alt": item.alt for number, item in enumerate(post.images)}
    if key := next((key for key, text in written.items() if _contains_secret(text)), None):
        return _problem(post, task.account, "rendered_with_secret", key=key)
    return task.problem("rendered_with_secret")


def _odd_character_problems(task: _RenderContext, rendered: RenderedPost, body_text: str) -> list[Problem]:
    """Name the first character of each part that readers would not see; what wrote it is the body, or the template.

    What staff wrote is judged already; an entity in Markdown or an escape in a template becomes one only here.
    """
    parts = {
        "title": rendered.title,
        "text": "\n".join(rendered.all_parts),
        "summary": rendered.summary,
        "link": rendered.link or "",
        "alt": "\n".join(picture.alt for picture in rendered.images),
    }
    is_body = next(find_forbidden_characters(body_text), None) is not None
    problems = []
    for part, text in parts.items():
        position = next(find_forbidden_characters(text), None)
        if position is None:
            continue
        name = describe_character(text[position])
        if is_body:
            problem = _problem(
                task.post, task.account, "rendered_invisible_character", key="body", part=part, character=name
            )
        else:
            problem = task.problem("rendered_invisible_character", part=part, character=name)
        problems.append(problem)
    return problems


def _contains_marker(text: str, marker: Marker) -> bool:
    """Whether a text carries a marker; folding a whole text is slow, so what cannot spell one is left out first."""
    return marker.code in text or (marker.is_in("".join(_NON_CHINESE_TEXT.findall(text))) and marker.is_in(text))


def _problem(post: Post, account: Account, code: str, place: Location | None = None, **facts: str) -> Problem:
    named = {"post": post.id, "account": account.id, "template": post.template}
    return Problem(code=code, location=place, facts={**named, **facts})
