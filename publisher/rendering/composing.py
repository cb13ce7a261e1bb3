"""From a post, an instant and an account to the exact words that account will say."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from traceback import walk_tb
from typing import Final

import jinja2
from jinja2.exceptions import SecurityError
from markupsafe import Markup

from publisher.concealing import conceal
from publisher.domain.account import Account, Platform, Traits
from publisher.domain.characters import name_of, odd_characters
from publisher.domain.errors import TemplateError
from publisher.domain.post import Occurrence, Post
from publisher.domain.problem import Place, Problem
from publisher.domain.rendition import Marker, Picture, Rendition, marker_for
from publisher.rendering.body import (
    MAX_DEPTH,
    body_html,
    body_text,
    finish_html,
    is_deep,
    text_html,
    tidy,
    visible_text,
)
from publisher.rendering.floors import in_floors
from publisher.rendering.sandbox import (
    BUDGET,
    MAX_CHARACTERS,
    Budget,
    EndlessError,
    FaultyPartError,
    HugeError,
    UnprintableError,
)
from publisher.rendering.templates import PLAIN, STYLESHEET, Sample, Templates

NEAR: Final = 60
"""Within how many characters of its start a text must carry its marker; lists may show no more of a post."""
DIGEST: Final = 54
"""How much of a body stands for an article that has no summary: what WeChat itself would take."""
MAX_BODY: Final = 50_000
"""Characters of a body: twice what the longest article takes, and little enough for Markdown that nests and nests."""
_CRLF_PLATFORMS: Final = frozenset({"tieba"})
"""Where lines end in CR LF, as the platform's own web editor joins them."""
_SPELLING: Final = re.compile(r"[^\u2010-\u2027\u3000-\u30ff\u3400-\u9fff\uff00-\uff0f\uff1a-\uff20]+")
"""All but Chinese characters and punctuation, which no platform's rewriting turns into letters or digits."""
_FAULTS: Final = (
    jinja2.TemplateError,
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,
)
"""What a template's own mistakes raise while it runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Original:
    """The earlier post that this one answers, as the same account published it."""

    title: str
    marker: Marker


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """One rendering: what is said, by whom, and with what."""

    post: Post
    account: Account
    region: Mapping[str, str]
    traits: Traits
    templates: Templates
    page: jinja2.Template
    original: Original | None

    def refuse(self, code: str, place: Place | None = None, **facts: str) -> Problem:
        return _problem(self.post, self.account, code, place or self.templates.place(self.page.name or ""), **facts)


def render(  # noqa: PLR0913 # all that a rendition depends on; nothing is fetched
    post: Post,
    occurrence: Occurrence,
    account: Account,
    *,
    region: Mapping[str, str],
    pictures: Sequence[Picture],
    traits: Traits,
    templates: Templates,
    timezone: tzinfo,
    original: Original | None = None,
) -> Rendition:
    """Write what one account will say of one occurrence. Pure: the same arguments give the same bytes.

    `region` holds the facts of the account's region, `pictures` are the post's, in its order. Raises TemplateError
    when the template fails, or when the text lacks its marker or the region's tip line, or carries a secret; its
    problems name the post, the account and the template's line.
    """
    task = _Task(
        post=post,
        account=account,
        region=region,
        traits=traits,
        templates=templates,
        page=_page(post, account, templates),
        original=original,
    )
    if traits.is_article and STYLESHEET in templates.faults:
        raise TemplateError([task.refuse("template_part_faulty", part=STYLESHEET), *templates.faults[STYLESHEET]])
    if len(post.body) > MAX_BODY:
        length, limit = str(len(post.body)), str(MAX_BODY)
        raise TemplateError(
            [_problem(post, account, "rendition_body_too_long", key="body", length=length, limit=limit)]
        )
    if not region.get("tip_line"):
        facts = {"account": account.id, "region": account.region or ""}
        raise TemplateError([Problem(code="rendition_region_without_tip_line", facts=facts)])
    marker = marker_for(occurrence.key, account.id)
    link = link_for(account, region, marker)
    variables = _variables(task, marker, link) | {"due_at": occurrence.due_at.astimezone(timezone)}
    source = _run(task, variables | (_article_variables(task, pictures) if traits.is_article else {}))
    text = _article(task, source) if traits.is_article else _lines(source, account.platform)
    first, *more = in_floors(text, marker, traits)
    rendition = Rendition(
        account=account.id,
        platform=account.platform,
        marker=marker,
        title=post.title,
        text=first,
        floors=tuple(more),
        summary=_digest(task) if traits.is_article else "",
        link=link if link and (traits.is_article or link in text) else None,
        pictures=_chosen(task, pictures),
    )
    if problems := _wrong(task, rendition):
        raise TemplateError(problems)
    return rendition


def link_for(account: Account, region: Mapping[str, str], marker: Marker) -> str | None:
    """Give the account's link for a delivery, else the region's page for tips; either carries the marker."""
    link = account.safe_link or region.get("tip_link")
    if not link:
        return None
    if "{marker}" in link:
        return link.replace("{marker}", marker.code)
    page, hash_sign, fragment = link.partition("#")
    return f"{page}{'&' if '?' in page else '?'}n={marker.code}{hash_sign}{fragment}"


def _page(post: Post, account: Account, templates: Templates) -> jinja2.Template:
    """Find the page to use, and see that the post brings the data its template needs."""
    sample = templates.samples.get(post.template)
    if sample is None:
        raise TemplateError([_problem(post, account, "template_unknown", known="、".join(templates.names))])
    if faults := templates.faults_of(post.template):
        raise TemplateError([_problem(post, account, "template_faulty", key="template"), *faults])
    page = templates.page(post.template, account.platform)
    if page is None:
        raise TemplateError([_problem(post, account, "template_without_page", platform=account.platform)])
    if problems := _data_problems(post, account, sample):
        raise TemplateError(problems)
    return page


def _data_problems(post: Post, account: Account, sample: Sample) -> list[Problem]:
    """Name the data that a post lacks, and what is not of the kind that its template takes."""
    lacking = [
        _problem(post, account, "template_data_missing", key=f"data.{name}", name=name, use=sample.needs[name])
        for name in sample.lacking(post.data)
    ]
    misfits = [
        _problem(post, account, "template_data_wrong", key=f"data.{name}", name=name, example=example)
        for name, example in sample.misfits(post.data).items()
    ]
    return [*lacking, *misfits]


def _variables(task: _Task, marker: Marker, link: str | None) -> dict[str, object]:
    post, account = task.post, task.account
    return {
        "post": {
            "id": post.id,
            "kind": post.kind.value,
            "level": post.level.value if post.level else None,
            "title": post.title,
            "author": post.author,
        },
        "body": post.body,
        "body_text": body_text(post.body),
        "data": post.data,
        "region": {"police": f"{task.region.get('name', '')}警方", **task.region},
        "account": {"id": account.id, "platform": account.platform, "forum": account.forum},
        "marker": marker.code,
        "link": link,
        "words": post.words.get(account.platform),
        "original": {"title": task.original.title} if task.original else None,
        BUDGET: Budget(),
    }


def _article_variables(task: _Task, pictures: Sequence[Picture]) -> dict[str, object]:
    return {
        "body_html": Markup(body_html(task.post.body, task.templates.stylesheet)),  # noqa: S704 # sanitised
        "pictures": [_shown(picture) for picture in pictures],
    }


def _run(task: _Task, variables: Mapping[str, object]) -> str:
    """Run a template under its budget and cap; whatever it does wrong comes back with the line where it did."""
    parts, size = [], 0
    try:
        for part in task.page.generate(variables):
            size += len(part)
            if size > MAX_CHARACTERS:
                raise HugeError("huge")
            parts.append(part)
    except _FAULTS as error:
        code, facts = _fault(error)
        behind = task.templates.faults.get(facts.get("part", ""), ())
        raise TemplateError([task.refuse(code, _line_of(error, task.templates), **facts), *behind]) from error
    return "".join(parts)


def _fault(error: Exception) -> tuple[str, Mapping[str, str]]:
    match error:
        case jinja2.UndefinedError():
            return "template_undefined", {"name": str(error.message)}
        case SecurityError():
            return "template_forbidden", {"reason": str(error.message)}
        case EndlessError() | RecursionError():
            return "template_endless", {}
        case FaultyPartError():
            return "template_part_faulty", {"part": str(error.message)}
        case UnprintableError():
            return "template_unprintable", {"kind": str(error.message)}
        case HugeError() | MemoryError():
            return "template_huge", {"limit": str(MAX_CHARACTERS)}
        case _:
            return "template_failed", {"reason": f"{type(error).__name__}: {error}"}


def _line_of(error: Exception, templates: Templates) -> Place | None:
    """Find the innermost template line that an error passed through."""
    places = [Place(file=frame.f_code.co_filename, line=line) for frame, line in walk_tb(error.__traceback__)]
    return next((place for place in reversed(places) if templates.has_file(place.file)), None)


def _article(task: _Task, source: str) -> str:
    """Set an article; a platform without a page of its own gets the words of the plain page, paragraph by paragraph."""
    is_plain = (task.page.name or "").endswith(PLAIN)
    html = text_html(tidy(source)) if is_plain else source
    if is_deep(html):
        raise TemplateError([task.refuse("rendition_too_deep", limit=str(MAX_DEPTH))])
    return finish_html(html, task.templates.stylesheet)


def _lines(source: str, platform: Platform) -> str:
    text = tidy(source)
    return text.replace("\n", "\r\n") if platform in _CRLF_PLATFORMS else text


def _shown(picture: Picture) -> Mapping[str, str]:
    return {"source": f"media:{picture.sha256}", "alt": picture.alt, "width": str(picture.width)}


def _chosen(task: _Task, pictures: Sequence[Picture]) -> tuple[Picture, ...]:
    """Give the pictures that go along: an article's cover comes first, elsewhere as many as the platform takes."""
    if not task.traits.is_article:
        return tuple(pictures[: task.traits.picture_limit])
    cover = task.templates.cover(task.post.template)
    return tuple(pictures) or ((cover,) if cover else ())


def _digest(task: _Task) -> str:
    summary = task.post.words.get(task.account.platform) or task.post.data.get("summary")
    return summary.strip() if isinstance(summary, str) else body_text(task.post.body).partition("\n")[0][:DIGEST]


def _wrong(task: _Task, rendition: Rendition) -> Sequence[Problem]:
    """Name what every text must carry and this one lacks, and what it must not carry."""
    is_article, marker = task.traits.is_article, rendition.marker
    seen = visible_text(rendition.text) if is_article else "\n".join(rendition.all_floors)
    tip_line = task.region["tip_line"]
    alts = [picture.alt for picture in rendition.pictures]
    problems = _odd_problems(task, rendition)
    if not _carries(seen, marker):
        problems.append(task.refuse("rendition_without_marker", limit=str(NEAR)))
    elif not is_article and not _carries(seen[:NEAR], marker):
        problems.append(_problem(task.post, task.account, "rendition_marker_late", key="title", limit=str(NEAR)))
    if is_article and not _carries(rendition.link or "", marker):
        problems.append(task.refuse("rendition_without_marked_link"))
    if tip_line not in seen:
        problems.append(task.refuse("rendition_without_tip_line", tip_line=tip_line))
    if task.original and _carries(seen, task.original.marker):
        problems.append(task.refuse("rendition_with_foreign_marker", marker=task.original.marker.code))
    if _tells_secret(rendition.title, *rendition.all_floors, rendition.summary, rendition.link or "", *alts):
        problems.append(_secret_problem(task))
    return problems


def _tells_secret(*texts: str) -> bool:
    """Whether a log would strike out any part of these texts."""
    return any(conceal(text) != text for text in texts)


def _secret_problem(task: _Task) -> Problem:
    """Refuse a text with a secret, at the key of the post that brings it, else at the template; it is not repeated."""
    post = task.post
    own = post.words.get(task.account.platform, "")
    written = {"title": post.title, "body": post.body, f"text.{task.account.platform}": own}
    written |= {f"data.{key}": json.dumps(value, ensure_ascii=False, default=str) for key, value in post.data.items()}
    written |= {f"images.{number}.alt": item.alt for number, item in enumerate(post.illustrations)}
    if key := next((key for key, text in written.items() if _tells_secret(text)), None):
        return _problem(post, task.account, "rendition_secret", key=key)
    return task.refuse("rendition_secret")


def _odd_problems(task: _Task, rendition: Rendition) -> list[Problem]:
    """Name the first character of each part that readers would not see; what wrote it is the body, or the template.

    What staff wrote is judged already; an entity in Markdown or an escape in a template becomes one only here.
    """
    parts = {
        "title": rendition.title,
        "text": "\n".join(rendition.all_floors),
        "summary": rendition.summary,
        "link": rendition.link or "",
        "alt": "\n".join(picture.alt for picture in rendition.pictures),
    }
    is_body = next(odd_characters(body_text(task.post.body)), None) is not None
    problems = []
    for part, text in parts.items():
        position = next(odd_characters(text), None)
        if position is None:
            continue
        name = name_of(text[position])
        if is_body:
            problem = _problem(
                task.post, task.account, "rendition_odd_character", key="body", part=part, character=name
            )
        else:
            problem = task.refuse("rendition_odd_character", part=part, character=name)
        problems.append(problem)
    return problems


def _carries(text: str, marker: Marker) -> bool:
    """Whether a text carries a marker; folding a whole text is slow, so what cannot spell one is left out first."""
    return marker.code in text or (marker.is_in("".join(_SPELLING.findall(text))) and marker.is_in(text))


def _problem(post: Post, account: Account, code: str, place: Place | None = None, **facts: str) -> Problem:
    named = {"post": post.id, "account": account.id, "template": post.template}
    return Problem(code=code, place=place, facts={**named, **facts})
