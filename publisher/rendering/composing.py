"""From a post, an instant and its accounts to the exact words that each account will say."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Final

from publisher.concealing import conceal
from publisher.domain.account import Account, Traits
from publisher.domain.characters import name_of, odd_characters
from publisher.domain.errors import TemplateError
from publisher.domain.post import Occurrence, Post
from publisher.domain.problem import Place, Problem
from publisher.domain.rendition import Marker, Picture, Rendition, marker_for
from publisher.rendering.floors import in_floors
from publisher.rendering.jobs import ReadBody, RenderPage, Result, Text
from publisher.rendering.templates import STYLESHEET, Sample, Templates

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Original:
    """The earlier post that this one answers, as the same account published it."""

    title: str
    marker: Marker


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One account that is to say a post, with the facts of its region and the post's pictures, in their order."""

    account: Account
    region: Mapping[str, str]
    traits: Traits
    pictures: Sequence[Picture]
    original: Original | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Composition:
    """The post's body as plain text, and for each order the rendition, or why there is none."""

    body_text: str
    renditions: Sequence[Rendition | TemplateError]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """One rendition in the making: what is said, by whom, and with what. `page` is the template's file."""

    post: Post
    order: Order
    templates: Templates
    page: str
    marker: Marker
    link: str | None

    @property
    def account(self) -> Account:
        return self.order.account

    def refuse(self, code: str, place: Place | None = None, **facts: str) -> Problem:
        return _problem(self.post, self.account, code, place or self.templates.place(self.page), **facts)


def compose(
    post: Post, occurrence: Occurrence, orders: Sequence[Order], templates: Templates, timezone: tzinfo
) -> Composition:
    """Write what accounts will say of one occurrence. Pure: the same arguments give the same bytes.

    There is a TemplateError where the template fails, or where the text lacks its marker or the region's tip line, or
    carries a secret; its problems name the post, the account and the template's line.
    """
    tasks = [_task(post, occurrence, order, templates) for order in orders]
    sound = [task for task in tasks if isinstance(task, _Task)]
    jobs = [_job(task, occurrence, timezone) for task in sound]
    body = templates.renderer.run([ReadBody(body=post.body)])[0] if sound else Text(text="")
    body_text = body.text if isinstance(body, Text) else ""
    rendered = iter(templates.renderer.run(jobs) if isinstance(body, Text) else [body] * len(sound))
    return Composition(
        body_text=body_text,
        renditions=[_rendition(task, next(rendered), body_text) if isinstance(task, _Task) else task for task in tasks],
    )


def _task(post: Post, occurrence: Occurrence, order: Order, templates: Templates) -> _Task | TemplateError:
    """Find the page, and see that all is there that it needs."""
    account = order.account
    marker = marker_for(occurrence.key, account.id)
    try:
        page = _page(post, account, templates)
    except TemplateError as error:
        return error
    task = _Task(
        post=post,
        order=order,
        templates=templates,
        page=page,
        marker=marker,
        link=link_for(account, order.region, marker),
    )
    if order.traits.is_article and STYLESHEET in templates.faults:
        return TemplateError([task.refuse("template_part_faulty", part=STYLESHEET), *templates.faults[STYLESHEET]])
    if len(post.body) > MAX_BODY:
        length, limit = str(len(post.body)), str(MAX_BODY)
        return TemplateError(
            [_problem(post, account, "rendition_body_too_long", key="body", length=length, limit=limit)]
        )
    if not order.region.get("tip_line"):
        facts = {"account": account.id, "region": account.region or ""}
        return TemplateError([Problem(code="rendition_region_without_tip_line", facts=facts)])
    return task


def _rendition(task: _Task, result: Result, body_text: str) -> Rendition | TemplateError:
    """Make a rendition of what was rendered, or say what is wrong with it."""
    if isinstance(result, Problem):
        behind = task.templates.faults.get(result.facts.get("part", ""), ())
        return TemplateError([task.refuse(result.code, result.place, **result.facts), *behind])
    if not isinstance(result, Text):
        raise TypeError(type(result).__name__)
    traits, link, post = task.order.traits, task.link, task.post
    first, *more = in_floors(result.text, task.marker, traits)
    rendition = Rendition(
        account=task.account.id,
        platform=task.account.platform,
        marker=task.marker,
        title=post.title,
        text=first,
        floors=tuple(more),
        summary=_digest(task, body_text) if traits.is_article else "",
        link=link if link and (traits.is_article or link in result.text) else None,
        pictures=_chosen(task),
    )
    seen = result.visible if traits.is_article else "\n".join(rendition.all_floors)
    problems = _wrong(task, rendition, seen, body_text)
    return TemplateError(problems) if problems else rendition


def link_for(account: Account, region: Mapping[str, str], marker: Marker) -> str | None:
    """Give the account's link for a delivery, else the region's page for tips; either carries the marker."""
    link = account.link_template or region.get("tip_link")
    if not link:
        return None
    if "{marker}" in link:
        return link.replace("{marker}", marker.code)
    page, hash_sign, fragment = link.partition("#")
    return f"{page}{'&' if '?' in page else '?'}n={marker.code}{hash_sign}{fragment}"


def _page(post: Post, account: Account, templates: Templates) -> str:
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


def _job(task: _Task, occurrence: Occurrence, timezone: tzinfo) -> RenderPage:
    post, account, order = task.post, task.account, task.order
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
        "words": post.words.get(account.platform),
        "original": {"title": order.original.title} if order.original else None,
        "due_at": occurrence.due_at.astimezone(timezone),
    }
    if order.traits.is_article:
        variables["pictures"] = [_shown(picture) for picture in order.pictures]
    return RenderPage(
        page=task.page,
        variables=variables,
        body=post.body,
        is_article=order.traits.is_article,
        has_crlf=account.platform in _CRLF_PLATFORMS,
    )


def _shown(picture: Picture) -> Mapping[str, str]:
    return {"source": f"media:{picture.sha256}", "alt": picture.alt, "width": str(picture.width)}


def _chosen(task: _Task) -> tuple[Picture, ...]:
    """Give the pictures that go along: an article's cover comes first, elsewhere as many as the platform takes."""
    pictures, traits = task.order.pictures, task.order.traits
    if not traits.is_article:
        return tuple(pictures[: traits.picture_limit])
    cover = task.templates.cover(task.post.template)
    return tuple(pictures) or ((cover,) if cover else ())


def _digest(task: _Task, body_text: str) -> str:
    summary = task.post.words.get(task.account.platform) or task.post.data.get("summary")
    return summary.strip() if isinstance(summary, str) else body_text.partition("\n")[0][:DIGEST]


def _wrong(task: _Task, rendition: Rendition, seen: str, body_text: str) -> Sequence[Problem]:
    """Name what every text must carry and this one lacks, and what it must not carry."""
    order, marker = task.order, rendition.marker
    is_article, tip_line = order.traits.is_article, order.region["tip_line"]
    alts = [picture.alt for picture in rendition.pictures]
    problems = _odd_problems(task, rendition, body_text)
    if not _carries(seen, marker):
        problems.append(task.refuse("rendition_without_marker", limit=str(NEAR)))
    elif not is_article and not _carries(seen[:NEAR], marker):
        problems.append(_problem(task.post, task.account, "rendition_marker_late", key="title", limit=str(NEAR)))
    if is_article and not _carries(rendition.link or "", marker):
        problems.append(task.refuse("rendition_without_marked_link"))
    if tip_line not in seen:
        problems.append(task.refuse("rendition_without_tip_line", tip_line=tip_line))
    if order.original and _carries(seen, order.original.marker):
        problems.append(task.refuse("rendition_with_foreign_marker", marker=order.original.marker.code))
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


def _odd_problems(task: _Task, rendition: Rendition, body_text: str) -> list[Problem]:
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
    is_body = next(odd_characters(body_text), None) is not None
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
