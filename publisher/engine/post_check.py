"""Check a post while it is written: all its problems, its texts, and the room on each platform."""

import asyncio
import html
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from publisher.domain.account import AccountId, Capabilities, Mode, Platform
from publisher.domain.errors import Location, Problem, ScheduleError, Severity
from publisher.domain.kinds import CORRECTING_KINDS
from publisher.domain.post import Post, PostId, RenderedPost, Schedule, find_family
from publisher.engine.planner import Planner
from publisher.rendering.renderer import RenderResult
from publisher.schedule.cron import find_next_occurrence, list_next_times
from publisher.schedule.edit import Entry, add_post
from publisher.schedule.load import (
    SCHEDULE_READ_LIMITS,
    hide_names,
    locate_problems,
    parse_leniently,
)
from publisher.schedule.warnings import (
    find_early_follow_ups,
    find_lone_approvals,
    find_misplaced_data,
    find_overdue_posts,
    find_overtaken_follow_ups,
    find_timing_warnings,
    find_warnings,
)
from publisher.store.queries.occurrences import RelatedPost
from publisher.tomlfile.read import parse_toml


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRoom:
    """The lengths of a platform's texts, by its own count, for the account with the least room.

    `by_hand` is on how many of the accounts a person posts.
    """

    platform: Platform
    rendered: RenderedPost
    capabilities: Capabilities
    accounts: int
    by_hand: int

    @property
    def length(self) -> int:
        return self.measure(self.rendered)

    def measure(self, rendered: RenderedPost) -> int:
        """Return the length of a text of this platform, the longest part's."""
        return max(map(self.capabilities.count_text, rendered.all_parts))

    @property
    def limit(self) -> int:
        return self.capabilities.text_limit_beside(len(self.rendered.images))

    @property
    def excess(self) -> int:
        return max(self.length - self.limit, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class PostCheck:
    """The problems of a post, and its texts as far as they can be made.

    The `path` of a problem's location is the post's own key, such as `data.summary`; it is empty
    for the whole post.
    """

    problems: Sequence[Problem] = ()
    post: Post | None = None
    due_at: datetime | None = None
    next_times: Sequence[datetime] = ()
    result: RenderResult = field(default_factory=RenderResult)
    rooms: Sequence[TextRoom] = ()

    @property
    def errors(self) -> Sequence[Problem]:
        return [problem for problem in self.problems if problem.is_error]


async def check_entry(
    planner: Planner, entry: Entry, reach: Collection[AccountId] | None, *, is_new: bool
) -> PostCheck:
    """Check a post by itself, as the loader does, and render it for its accounts within `reach`.

    These are the accounts that the writer may see, None for all. An original that concerns none of
    them is unknown. Checks that depend on the rest of the file come with the save.
    """
    name, follows = str(entry.get("id", "")), str(entry.get("follows", ""))
    known = await planner.store.posts.family_posts(name, follows)
    originals = {
        post.id: post
        for post in known
        if find_family(post.id) == follows
        and await planner.store.occurrences.is_on_any(post.id, reach)
    }
    own = [post for post in known if find_family(post.id) == name]
    same = own[0] if own else None
    related = await planner.store.occurrences.related(same, reach) if same else ()
    stored = _Stored(same, originals, list_follow_ups(related))
    check = await asyncio.to_thread(_check_sketch, planner, entry, stored, reach)
    if is_new and same is not None:
        taken = Problem(
            code="id_taken",
            location=Location(file="", path="id"),
            facts={"post": find_family(same.id)},
        )
        check = replace(check, problems=[*check.problems, taken])
    return check


@dataclass(frozen=True, slots=True)
class _Stored:
    """The stored version of a post, the posts that it follows, and the posts that follow it."""

    post: Post | None
    originals: Mapping[PostId, Post]
    follow_ups: Sequence[Post]


def _check_sketch(
    planner: Planner,
    entry: Entry,
    stored: _Stored,
    reach: Collection[AccountId] | None,
) -> PostCheck:
    """Check a post; one that lacks only descriptions of its pictures has its texts nevertheless."""
    check = _check(planner, entry, stored, reach)
    described = describe_pictures(entry)
    if check.post is not None or described == entry:
        return check
    sketch = _check(planner, described, stored, reach)
    others = [problem for problem in sketch.problems if problem not in check.problems]
    return replace(sketch, problems=[*check.problems, *others])


def describe_pictures(entry: Entry) -> Entry:
    """Return a post with a description of each picture that has none yet: its file."""
    images = entry.get("images", ())
    described = [
        {
            "alt": image.get("file"),
            **{key: value for key, value in image.items() if value},
        }
        for image in images
        if isinstance(image, Mapping)
    ]
    return {**entry, "images": described} if described else entry


def _check(
    planner: Planner,
    entry: Entry,
    stored: _Stored,
    reach: Collection[AccountId] | None,
) -> PostCheck:
    now, zone = planner.now, planner.schedule_context.timezone
    originals = stored.originals
    context = replace(planner.schedule_context, known_posts=originals.keys())
    try:
        toml = parse_toml(
            add_post("", entry).text, "", SCHEDULE_READ_LIMITS, ScheduleError
        )
    except ScheduleError as error:  # a character that nobody sees
        return PostCheck(problems=_of_post(error.problems))
    schedule, problems = parse_leniently(toml, context)
    problems = hide_names(problems, reach)
    if not schedule.posts:
        return PostCheck(problems=_of_post(problems))
    members = schedule.posts
    post = replace(
        members[0],
        id=PostId(find_family(members[0].id)),
        accounts=tuple(account for member in members for account in member.accounts),
    )
    occurrence = find_next_occurrence(post, now, zone)
    items = [
        (
            member,
            find_next_occurrence(member, now, zone),
            [one for one in member.accounts if reach is None or one in reach],
        )
        for member in members
    ]
    result = join_results(list(planner.post_renderer.render_all(items, originals)))
    next_times = list_next_times(post, now, zone)
    found = [
        *(
            find_overdue_posts(schedule, now.astimezone(zone))
            if not stored.post
            else ()
        ),
        *find_early_follow_ups(schedule.posts, originals),
        *find_overtaken_follow_ups(post, stored.follow_ups),
        *list_warnings(planner, schedule, next_times, now),
        *result.problems,
        *(
            problem
            for member, _at, accounts in items
            for problem in find_misquotation(
                planner, member, originals.get(PostId(member.follows or "")), accounts
            )
        ),
    ]
    located = [*problems, *locate_problems(found, text=toml.text, file="")]
    return PostCheck(
        problems=_of_post(located),
        post=post,
        due_at=occurrence.due_at,
        next_times=next_times,
        result=result,
        rooms=measure_room(planner, result),
    )


def join_results(results: Collection[RenderResult]) -> RenderResult:
    """Return the texts of all members of a family, with their problems."""
    return RenderResult(
        rendered_posts=tuple(text for each in results for text in each.rendered_posts),
        media={name: data for each in results for name, data in each.media.items()},
        problems=tuple(problem for each in results for problem in each.problems),
    )


def find_misquotation(
    planner: Planner,
    post: Post,
    original: Post | None,
    accounts: Collection[AccountId],
) -> Sequence[Problem]:
    """Return a warning if a correction quotes words that its original does not have.

    It is no error: the original may have changed since, and a correction must not wait for that.
    """
    wrong = _squeeze(str(post.data.get("wrong", "")).strip(" 。“”"))
    if original is None or not wrong or post.kind not in CORRECTING_KINDS:
        return ()
    written = [original.title, original.body, *original.text_by_platform.values()]
    written.append(json.dumps(original.data, ensure_ascii=False, default=str))
    if wrong in _squeeze("\n".join(written)):
        return ()
    occurrence = find_next_occurrence(
        original, planner.now, planner.schedule_context.timezone
    )
    known = planner.schedule_context.accounts
    one_each = {known[name].platform: name for name in accounts if name in known}
    result = planner.post_renderer.render(
        original, occurrence, [*one_each.values()], {}
    )
    texts = [part for each in result.rendered_posts for part in each.all_parts]
    if wrong in _squeeze("\n".join(texts)):
        return ()
    facts = {"post": post.id, "key": "data.wrong", "value": wrong[:40]}
    return [Problem(code="quotation_not_found", severity=Severity.WARNING, facts=facts)]


def _squeeze(text: str) -> str:
    """Return a text or an article without spaces and marks, to compare it with words of it."""
    return re.sub(r"<[^>]*>|[\s*#]", "", html.unescape(text))


def list_follow_ups(related: Sequence[RelatedPost]) -> Sequence[Post]:
    """Return the posts in force that follow a post, of its related ones."""
    return [one.post for one in related if one.is_in_force and not one.is_original]


async def check_stored(
    planner: Planner,
    post: Post,
    accounts: Sequence[AccountId],
    related: Sequence[RelatedPost],
) -> Sequence[Problem]:
    """Return the present findings of `check` for a post in force, by itself, and for its texts.

    The texts are those for these accounts.
    """
    original = (
        await planner.store.posts.get_post(post.follows) if post.follows else None
    )
    originals = {original.id: original} if original is not None else {}

    def check() -> Sequence[Problem]:
        now, zone = planner.now, planner.schedule_context.timezone
        next_times = list_next_times(post, now, zone)
        result = planner.post_renderer.render(
            post, find_next_occurrence(post, now, zone), accounts, originals
        )
        return [
            *find_early_follow_ups([post], originals),
            *find_overtaken_follow_ups(post, list_follow_ups(related)),
            *list_warnings(planner, Schedule(posts=(post,)), next_times, now),
            *result.problems,
            *find_misquotation(planner, post, original, accounts),
        ]

    return await asyncio.to_thread(check)


def list_warnings(
    planner: Planner, schedule: Schedule, next_times: Sequence[datetime], now: datetime
) -> Sequence[Problem]:
    context = planner.schedule_context
    zone = context.timezone
    times: Mapping[PostId, Sequence[datetime]] = {
        post.id: next_times for post in schedule.posts
    }
    return [
        *find_warnings(schedule, now, max(next_times, default=now), zone),
        *find_timing_warnings(schedule, times, now.astimezone(zone)),
        *find_misplaced_data(schedule, context.data_keys),
        *find_lone_approvals(schedule, context.approval_rules),
    ]


def measure_room(planner: Planner, result: RenderResult) -> Sequence[TextRoom]:
    """Return the room that is left on each platform, in the order of the accounts."""
    by_platform: dict[Platform, list[TextRoom]] = {}
    accounts = planner.schedule_context.accounts
    for rendered in result.rendered_posts:
        account: AccountId = rendered.account
        room = TextRoom(
            platform=rendered.platform,
            rendered=rendered,
            capabilities=planner.store.policies[account].capabilities,
            accounts=1,
            by_hand=int(accounts[account].mode is Mode.ASSISTED),
        )
        by_platform.setdefault(rendered.platform, []).append(room)
    return [
        replace(
            max(rooms, key=lambda room: room.length / max(room.limit, 1)),
            accounts=len(rooms),
            by_hand=sum(room.by_hand for room in rooms),
        )
        for rooms in by_platform.values()
    ]


def _of_post(problems: Sequence[Problem]) -> list[Problem]:
    """Return problems, each under the post's own key. Problems in a template keep no place."""
    found = []
    for problem in problems:
        path = problem.location.path if problem.location is not None else ""
        key = path.partition("].")[2] if path.startswith("post[") else ""
        found.append(replace(problem, location=Location(file="", path=key)))
    return found
