"""Read schedule.toml into a Schedule, or report all its problems at once."""

import contextlib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, cast
from zoneinfo import ZoneInfo

from publisher.config import SCHEDULE_FILE, Settings
from publisher.domain.account import Account, AccountId, Mode, Platform
from publisher.domain.approval import NO_APPROVALS, ApprovalRules
from publisher.domain.errors import Problem, ScheduleError
from publisher.domain.kinds import KINDS
from publisher.domain.post import (
    MEMBER_MARK,
    CronTrigger,
    EvergreenTrigger,
    Fingerprint,
    OneTimeTrigger,
    Post,
    PostId,
    Schedule,
    Trigger,
    find_family,
    fingerprint,
)
from publisher.schedule.cron import check_cron, check_frequency
from publisher.schedule.explanations import explain_problem, explain_top_level_problem
from publisher.schedule.families import (
    find_families,
    find_own_words,
    find_region_problems,
    group_by_region,
    join_members,
    make_member,
)
from publisher.schedule.model import POST_KEYS, PostEntry, ScheduleFile
from publisher.tomlfile.read import ReadLimits, TomlDocument, count_bytes, parse_toml
from publisher.tomlfile.validate import (
    PLACEHOLDER,
    KeyPath,
    UnlocatedProblem,
    suggest_closest,
    validate_table,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleContext:
    """The names a schedule may use, and the zone of its times.

    `known_posts` are in the database, not in the file. If `templates` is None, any name is
    accepted. A missing template is reported when it is used.
    """

    timezone: ZoneInfo
    accounts: Mapping[AccountId, Account]
    groups: Mapping[str, tuple[AccountId, ...]] = field(default_factory=dict)
    templates: Collection[str] | None = ()
    platforms: Collection[str] = frozenset()
    known_posts: Collection[PostId] = frozenset()
    data_keys: Mapping[str, Collection[str]] = field(default_factory=dict)
    """The keys of `data` that each template names."""
    approval_rules: ApprovalRules = NO_APPROVALS


def make_schedule_context(
    settings: Settings,
    *,
    templates: Collection[str],
    known_posts: Collection[PostId] = frozenset(),
    data_keys: Mapping[str, Collection[str]] | None = None,
    platforms: Collection[str] = (),
) -> ScheduleContext:
    """Make the context of a schedule from the operator's settings.

    A post may have texts for `platforms` as well.
    """
    return ScheduleContext(
        timezone=settings.timezone,
        accounts=settings.accounts,
        groups=settings.groups,
        templates=templates,
        platforms={
            *platforms,
            *(account.platform for account in settings.accounts.values()),
        },
        known_posts=known_posts,
        data_keys=data_keys or {},
        approval_rules=settings.approval_rules,
    )


MAX_SUGGESTIONS, MAX_CHOICES = 5, 20
"""So many unknown names of a post are compared with all names; the others get the first ones."""


class RecipientResolver:
    """Resolves `to` into accounts.

    Most posts of a file have the same recipients, so results are cached.
    """

    def __init__(self, context: ScheduleContext) -> None:
        self._accounts = context.accounts
        self._resolved: dict[tuple[str, ...], tuple[AccountId, ...]] = {}
        names: dict[str, tuple[AccountId, ...]] = {"all": tuple(context.accounts)}
        for account in context.accounts.values():
            names[f"platform:{account.platform}"] = (
                *names.get(f"platform:{account.platform}", ()),
                account.id,
            )
            if account.region:
                names[f"region:{account.region}"] = (
                    *names.get(f"region:{account.region}", ()),
                    account.id,
                )
        names.update(context.groups)
        names.update((str(account), (account,)) for account in context.accounts)
        self._accounts_by_name = names

    def resolve(self, to: tuple[str, ...]) -> tuple[AccountId, ...]:
        """Return the accounts that are not off, each once, in the order of first mention.

        Unknown names are skipped.
        """
        if to not in self._resolved:
            named = self.resolve_with_off(to)
            self._resolved[to] = tuple(
                account
                for account in named
                if self._accounts[account].mode is not Mode.OFF
            )
        return self._resolved[to]

    def resolve_with_off(self, to: tuple[str, ...]) -> tuple[AccountId, ...]:
        """Return all named accounts, as `resolve` does, those that are off now included."""
        return tuple(
            dict.fromkeys(
                account
                for name in to
                for account in self._accounts_by_name.get(name, ())
            )
        )

    def find_problems(
        self, to: tuple[str, ...], base_path: KeyPath
    ) -> list[UnlocatedProblem]:
        """Return a problem for each unknown name, with suggestions for the first of them."""
        problems: list[UnlocatedProblem] = []
        for position, name in enumerate(to):
            if name in self._accounts_by_name:
                continue
            kind, separator, _ = name.partition(":")
            code = (
                {"platform": "unknown_platform", "region": "unknown_region"}.get(kind)
                if separator
                else None
            )
            choices = [
                known
                for known in self._accounts_by_name
                if not code or known.startswith(f"{kind}:")
            ]
            qualified = [f"{prefix}:{name}" for prefix in ("platform", "region")]
            suggested = next(
                (known for known in qualified if known in self._accounts_by_name), None
            )
            if suggested is None and len(problems) < MAX_SUGGESTIONS:
                suggested = suggest_closest(name, choices)
            facts = {
                "value": name,
                "choices": suggested or ", ".join(choices[:MAX_CHOICES]),
            }
            path = (*base_path, position)
            if len(parts := re.split(r"[,，、;；\s]+", name.strip())) > 1:
                facts["example"] = ", ".join(f'"{part}"' for part in parts)
                code = "names_in_one_text"
            problems.append(
                UnlocatedProblem(
                    path=path, code=code or "unknown_recipient", facts=facts
                )
            )
        return problems


RESERVED_IDS = frozenset({
    "all", "approvals", "audit", "audit_broken", "audit_checkpoint_failed", "database", "machine",
    "schedule", "users",
})  # fmt: skip
"""Ids with another meaning, in commands or as the subject of an alert.

The end of such an alert would also end an alert of the post.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowLink:
    """A post that follows another: its index in the file, and both ids."""

    index: int
    post: str
    follows: str


def to_utc(value: datetime, tz: ZoneInfo) -> datetime:
    """Return a time in UTC; without an offset it is in the workspace's zone."""
    return _with_timezone(value, tz).astimezone(UTC)


def find_template_problems(
    entry: PostEntry, path: KeyPath, context: ScheduleContext
) -> Iterator[UnlocatedProblem]:
    """Yield the problem of an unknown template, and of one made for a kind with more approvals.

    A post that looks like a warning must not go out with fewer approvals than a warning.
    """
    if context.templates is not None and entry.template not in context.templates:
        choices = suggest_closest(entry.template, context.templates)
        facts = {"value": entry.template, "choices": choices}
        yield UnlocatedProblem(path=path, code="unknown_template", facts=facts)
    rules = context.approval_rules
    shown = next((kind for kind in KINDS if kind == entry.template), entry.kind)
    if not set(rules.chain_for(shown)) <= set(rules.chain_for(entry.kind)):
        facts = {"value": entry.template, "kind": entry.kind}
        yield UnlocatedProblem(path=path, code="template_of_other_kind", facts=facts)


def find_rule_problems(
    entry: PostEntry, index: int, context: ScheduleContext, resolver: RecipientResolver
) -> list[UnlocatedProblem]:
    """Return the problems of one post by itself."""
    path: KeyPath = ("post", index)
    to_problems = resolver.find_problems(tuple(entry.to), (*path, "to"))
    problems = [*find_time_problems(entry, path, context.timezone), *to_problems]
    if entry.region and not to_problems:
        codes = group_by_region(
            resolver.resolve_with_off(tuple(entry.to)), context.accounts
        ).keys()
        problems += find_region_problems(entry, path, codes, context.platforms)
    if entry.id in RESERVED_IDS:
        problems.append(
            UnlocatedProblem(
                path=(*path, "id"), code="reserved_id", facts={"post": entry.id}
            )
        )
    if entry.id == PLACEHOLDER:
        problems.append(
            UnlocatedProblem(
                path=(*path, "id"), code="placeholder_id", facts={"post": entry.id}
            )
        )
    problems += find_template_problems(entry, (*path, "template"), context)
    if entry.follows is None and entry.kind.traits.needs_original:
        problems.append(
            UnlocatedProblem(
                path=(*path, "follows"),
                code="follows_missing",
                facts={"kind": entry.kind},
            )
        )
    for platform in entry.text:
        if platform not in context.platforms:
            facts = {
                "value": platform,
                "name": platform,
                "choices": suggest_closest(platform, context.platforms),
            }
            code = "key_of_post" if platform in POST_KEYS else "unknown_platform"
            problems.append(
                UnlocatedProblem(
                    path=(*path, "text", platform),
                    code=code,
                    facts=facts,
                    is_at_key=True,
                )
            )
    return problems


def find_duplicate_ids(
    first_of: Mapping[str, int], tables: Sequence[object]
) -> Iterator[UnlocatedProblem]:
    """Yield the posts that have the id of an earlier one."""
    for index, table in enumerate(tables):
        name = entry_id(table)
        if name is not None and (first := first_of[name]) != index:
            lines: Mapping[str, KeyPath] = {
                "first": ("post", first, "id"),
                "second": ("post", index, "id"),
            }
            yield UnlocatedProblem(
                path=("post", index, "id"),
                code="duplicate_id",
                facts={"post": name},
                line_facts=lines,
            )


NO_CHOICES = "…"
SUGGESTING_CODES = frozenset(
    {
        "follows_unknown",
        "names_in_one_text",
        "region_not_addressed",
        "unknown_recipient",
        "unknown_region",
    }
)
"""Problems that suggest ids of posts, or names of accounts and regions."""
MAX_ORIGINAL_SEARCHES = 20
"""Maximum number of unknown originals with a search for a similar id.

Each search compares with every id of the file.
"""


def find_link_problems(
    links: Sequence[FollowLink], ids: Collection[str], known_posts: Collection[PostId]
) -> Iterator[UnlocatedProblem]:
    """Yield the problems of `follows`.

    `ids` are all ids of the file, so that a broken post is not called missing.
    """
    searches = 0
    known_names = {find_family(post) for post in known_posts} if links else set()
    cyclic = _find_cycles({link.post: link.follows for link in links})
    for link in links:
        path = ("post", link.index, "follows")
        facts = {"post": link.post, "value": link.follows}
        if link.follows == link.post:
            yield UnlocatedProblem(path=path, code="follows_itself", facts=facts)
        elif link.post in cyclic:
            yield UnlocatedProblem(path=path, code="follows_cycle", facts=facts)
        elif link.follows not in ids and link.follows not in known_names:
            choices = "…"
            if (searches := searches + 1) <= MAX_ORIGINAL_SEARCHES:
                known = [post for post in known_names if post[:4] == link.follows[:4]]
                names = [*known, *(name for name in ids if name != link.post)]
                choices = suggest_closest(link.follows, names) or choices
            yield UnlocatedProblem(
                path=path, code="follows_unknown", facts={**facts, "choices": choices}
            )


def hide_names(
    problems: Sequence[Problem], reach: Collection[AccountId] | None
) -> list[Problem]:
    """Return problems without suggested names of posts and accounts.

    This is for a reader that does not see all of them.
    """
    if reach is None:
        return list(problems)
    return [
        replace(problem, facts={**problem.facts, "choices": NO_CHOICES})
        if problem.code in SUGGESTING_CODES
        else problem
        for problem in problems
    ]


def post_tables(toml: TomlDocument) -> Sequence[object]:
    """Return the tables of the posts, with any content, or none if `post` is no list."""
    tables = toml.data.get("post")
    return tables if isinstance(tables, list) else []


def list_post_ids(toml: TomlDocument) -> Sequence[str]:
    """Return the ids of the posts in order, `?` where there is none."""
    return [entry_id(table) or "?" for table in post_tables(toml)]


def list_ids_in_text(text: str, file: str) -> Sequence[str]:
    """Return the ids of the posts of a schedule's text, in order.

    There are none if it cannot be parsed.
    """
    with contextlib.suppress(ScheduleError):
        return list_post_ids(
            parse_toml(text, file, SCHEDULE_READ_LIMITS, ScheduleError)
        )
    return ()


def entry_id(table: object) -> str | None:
    """Return the id of a post's table, even if the table has other problems."""
    name = table.get("id") if isinstance(table, Mapping) else None
    return name if isinstance(name, str) else None


def _find_cycles(origins: Mapping[str, str]) -> set[str]:
    """Return the posts that follow each other in a cycle."""
    seen: set[str] = set()
    cyclic: set[str] = set()
    for start in origins:
        path: dict[str, int] = {}
        post: str | None = start
        while post is not None and post not in seen and post not in path:
            path[post] = len(path)
            post = origins.get(post)
        if post is not None and post in path:
            cyclic.update(list(path)[path[post] :])
        seen.update(path)
    return cyclic


def find_trigger_problems(
    entry: PostEntry, base_path: KeyPath
) -> Iterator[UnlocatedProblem]:
    """Yield the problems of a post's trigger: a time, cron, or, if evergreen, a person."""
    if entry.evergreen:
        for key, value in (
            ("at", entry.at),
            ("cron", entry.cron),
            ("follows", entry.follows),
        ):
            if value is not None:
                facts = {"key": key}
                yield UnlocatedProblem(
                    path=(*base_path, key),
                    code="not_with_evergreen",
                    facts=facts,
                    is_at_key=True,
                )
    elif entry.at is None and entry.cron is None:
        yield UnlocatedProblem(path=(*base_path, "at"), code="no_time")
    elif entry.at is not None and entry.cron is not None:
        yield UnlocatedProblem(
            path=(*base_path, "cron"), code="at_and_cron", is_at_key=True
        )


def find_time_problems(
    entry: PostEntry, base_path: KeyPath, tz: ZoneInfo
) -> Iterator[UnlocatedProblem]:
    yield from find_trigger_problems(entry, base_path)
    if entry.cron is not None:
        since, until = (
            _with_timezone(one, tz) if one else None
            for one in (entry.since, entry.until)
        )
        path = (*base_path, "cron")
        problem = check_cron(entry.cron, path) or check_frequency(
            entry.cron, since, until, path
        )
        yield from filter(None, [problem])
    elif entry.since or entry.until or entry.days:
        for key, value in (
            ("from", entry.since),
            ("until", entry.until),
            ("days", entry.days),
        ):
            if value is not None:
                yield UnlocatedProblem(
                    path=(*base_path, key),
                    code="only_with_cron",
                    facts={"key": key},
                    is_at_key=True,
                )
    if (
        entry.since
        and entry.until
        and _with_timezone(entry.until, tz) <= _with_timezone(entry.since, tz)
    ):
        yield UnlocatedProblem(path=(*base_path, "until"), code="until_before_from")
    start, key = (
        (entry.at, "at") if isinstance(entry.at, datetime) else (entry.since, "from")
    )
    if (
        entry.expires
        and start
        and _with_timezone(entry.expires, tz) <= _with_timezone(start, tz)
    ):
        yield UnlocatedProblem(
            path=(*base_path, "expires"), code="expires_too_early", facts={"key": key}
        )


def _with_timezone(value: datetime, tz: ZoneInfo) -> datetime:
    return value if value.tzinfo else value.replace(tzinfo=tz)


_PLACEHOLDERS: Mapping[str, object] = {
    "id": "-",
    "kind": "bulletin",
    "template": "-",
    "author": "-",
    "title": "-",
    "to": ["all"],
}
"""Valid values for required keys that are missing or broken.

Problems about them are not reported.
"""

_CRON_ONLY_KEYS = frozenset({"from", "until", "days"})


def parse_entry(
    table: object, index: int, context: ScheduleContext, resolver: RecipientResolver
) -> tuple[PostEntry, list[UnlocatedProblem]]:
    """Parse a post and return all its problems; with any, the entry is only for further checks.

    Broken keys are left out, and the rest is checked by the rules, so that all problems appear at
    once.
    """
    found = validate_table(PostEntry, table, ("post", index))
    if isinstance(found, PostEntry):
        return found, find_rule_problems(found, index, context, resolver)
    if not isinstance(table, dict) or any(
        len(problem.path) == len(("post", index)) for problem in found
    ):
        return PostEntry.model_validate(_PLACEHOLDERS), found
    kept = dict(table)
    broken: set[str | int] = set()
    for problem in found:
        key, *inner = problem.path[2:]
        if inner and isinstance(kept.get(str(key)), dict):
            kept[str(key)] = {
                name: value
                for name, value in kept[str(key)].items()
                if name != inner[0]
            }
        else:
            kept.pop(str(key), None)
            broken.add(key)
    if "cron" in broken:
        broken |= {*_CRON_ONLY_KEYS, "at"}
        kept = {key: value for key, value in kept.items() if key not in _CRON_ONLY_KEYS}
    repaired = validate_table(PostEntry, {**_PLACEHOLDERS, **kept})
    entry = (
        repaired
        if isinstance(repaired, PostEntry)
        else PostEntry.model_validate(_PLACEHOLDERS)
    )
    rule_problems = find_rule_problems(entry, index, context, resolver)
    return entry, [
        *(explain_problem(problem, table, context.data_keys) for problem in found),
        *(problem for problem in rule_problems if problem.path[2] not in broken),
    ]


SCHEDULE_READ_LIMITS = ReadLimits(max_bytes=4 * 2**20)
_NON_CONTENT_KEYS = frozenset(
    {
        "author",
        "level",
        "at",
        "evergreen",
        "from",
        "until",
        "days",
        "expires",
        "max_delay",
        "urgent",
    }
)
"""Keys that do not affect the content: if one is broken, the content can still be checked."""
_SKIPPABLE_CODES = frozenset(
    {
        "unknown_key",
        "approved_in_file",
        "unknown_recipient",
        "unknown_platform",
        "unknown_region",
    }
)
"""Problems that do not affect the content: the key or recipient is ignored."""
_MAX_PROBLEMS_COLLECTED = 2000
"""Parsing stops after this many problems; far fewer are shown."""


def parse_schedule(
    text: str,
    *,
    file: str = SCHEDULE_FILE,
    context: ScheduleContext,
    limits: ReadLimits = SCHEDULE_READ_LIMITS,
) -> Schedule:
    """Parse the text of a schedule. Raises ScheduleError with every Problem. Pure."""
    document = parse_toml(text, file, limits, ScheduleError)
    posts, problems = _parse_posts(document, context)
    if problems:
        raise ScheduleError(document.locate_problems(problems))
    return Schedule(posts=posts)


def parse_leniently(
    document: TomlDocument, context: ScheduleContext
) -> tuple[Schedule, Sequence[Problem]]:
    """Return the posts of a file with checkable content, and every Problem.

    Nothing may be sent from a file with a Problem: its posts serve to find further problems.
    """
    posts, problems = _parse_posts(document, context)
    return Schedule(posts=posts), document.locate_problems(problems)


def locate_problems(
    problems: Sequence[Problem], *, text: str, file: str = SCHEDULE_FILE
) -> list[Problem]:
    """Add locations to problems with facts that name a `post`, and perhaps its `key`.

    A key is written as `data.summary`. A problem that several members of a family have with their
    common words is the family's.
    """
    if not problems:
        return []
    document = parse_toml(
        text, file, ReadLimits(max_bytes=count_bytes(text) or 1), ScheduleError
    )
    tables = _split_posts(document.data)[0]
    first_index = _index_first_by_id(tables)
    paths: dict[int, KeyPath] = {}
    for position, problem in enumerate(problems):
        family, _, code = problem.facts.get("post", "").partition(MEMBER_MARK)
        index = first_index.get(family)
        if index is not None and problem.location is None:
            keys = problem.facts.get("key", "id").split(".")
            written = (int(key) if key.isdecimal() else key for key in keys)
            own = find_own_words(tables[index], code, keys)
            paths[position] = ("post", index, *own, *written)
    locations = dict(zip(paths, document.locate_all(paths.values()), strict=True))
    located = [
        replace(problem, location=locations[position])
        if position in locations
        else problem
        for position, problem in enumerate(problems)
    ]
    return join_members(located)


def _parse_posts(
    document: TomlDocument, context: ScheduleContext
) -> tuple[tuple[Post, ...], list[UnlocatedProblem]]:
    """Parse every post; return the posts with intact content and all problems.

    Of each id, only the first is returned.
    """
    tables, problems = _split_posts(document.data)
    resolver = RecipientResolver(context)
    first_index = _index_first_by_id(tables)
    intact: list[tuple[PostEntry, bool]] = []
    links: list[FollowLink] = []
    for index, table in enumerate(tables):
        entry, own_problems = parse_entry(table, index, context, resolver)
        problems += own_problems
        if len(problems) > _MAX_PROBLEMS_COLLECTED:
            break
        if entry.follows is not None:
            links.append(
                FollowLink(
                    index=index, post=entry_id(table) or "", follows=entry.follows
                )
            )
        if first_index.get(entry.id) != index:
            continue
        is_content_intact = not own_problems or (
            all(
                problem.code in _SKIPPABLE_CODES
                or (len(problem.path) > 2 and problem.path[2] in _NON_CONTENT_KEYS)
                for problem in own_problems
            )
            and isinstance(
                table, dict
            )  # a misspelt [post.data] may have what the template needs
            and not any(
                isinstance(value, dict) and key not in POST_KEYS
                for key, value in table.items()
            )
        )
        if is_content_intact and entry.follows != entry.id:
            intact.append((entry, not own_problems))
    posts = make_posts(intact, context, resolver)
    if len(first_index) < len(tables):
        problems += find_duplicate_ids(first_index, tables)
    problems += find_link_problems(links, first_index, context.known_posts)
    return posts, problems


def make_posts(
    entries: Sequence[tuple[PostEntry, bool]],
    context: ScheduleContext,
    resolver: RecipientResolver,
) -> tuple[Post, ...]:
    """Make the posts of entries, each with its soundness; a family becomes one for each region.

    An unsound one without recipients is left out. A region keeps its post while its accounts are
    off.
    """
    families = find_families([entry for entry, _ in entries], context.known_posts)
    posts: list[Post] = []
    for entry, is_sound in entries:
        accounts = resolver.resolve(tuple(entry.to))
        if not (accounts or is_sound):
            continue
        if not families.is_family(entry.id):
            posts.append(_make_post(entry, accounts, context.timezone))
            continue
        named = resolver.resolve_with_off(tuple(entry.to))
        for code, of_region in group_by_region(named, context.accounts).items():
            member = make_member(entry, code, families)
            present = tuple(account for account in of_region if account in accounts)
            posts.append(_make_post(member, present, context.timezone))
    return tuple(posts)


def _index_first_by_id(tables: Sequence[object]) -> dict[str, int]:
    """Return the index of the first table with each id."""
    return {
        name: index
        for index in reversed(range(len(tables)))
        if (name := entry_id(tables[index])) is not None
    }


def _split_posts(
    data: Mapping[str, Any],
) -> tuple[Sequence[object], list[UnlocatedProblem]]:
    """Return the tables of the posts unchecked, and the problems of everything else in the file."""
    tables = data.get("post", [])
    is_list = isinstance(tables, list)
    found = validate_table(ScheduleFile, {**data, "post": []} if is_list else data)
    problems = (
        [explain_top_level_problem(problem, data) for problem in found]
        if isinstance(found, list)
        else []
    )
    return tables if is_list else (), problems


def _make_post(entry: PostEntry, accounts: tuple[AccountId, ...], tz: ZoneInfo) -> Post:
    expires_at = to_utc(entry.expires, tz) if entry.expires else None
    trigger: Trigger
    if entry.evergreen:
        trigger = EvergreenTrigger()
    elif entry.cron is None:
        trigger = OneTimeTrigger(
            at=to_utc(entry.at, tz) if isinstance(entry.at, datetime) else None
        )
    else:
        since = to_utc(entry.since, tz) if entry.since else None
        until = to_utc(entry.until, tz) if entry.until else None
        trigger = CronTrigger(
            text=entry.cron, since=since, until=until, days=entry.days or "all"
        )
    return Post(
        id=PostId(entry.id),
        kind=entry.kind,
        template=entry.template,
        author=entry.author,
        title=entry.title,
        trigger=trigger,
        accounts=accounts,
        content_hash=_hash_content(entry, trigger, expires_at),
        body=entry.body,
        level=entry.level,
        follows=PostId(entry.follows) if entry.follows else None,
        expires_at=expires_at,
        max_delay=entry.max_delay,
        is_urgent=entry.urgent,
        images=tuple([image.to_image() for image in entry.images]),
        text_by_platform=cast("dict[Platform, str]", entry.text),
        data=entry.data,
        target_hash=_hash_fields(
            {
                "at": trigger.at if isinstance(trigger, OneTimeTrigger) else None,
                "to": sorted(entry.to),
                **_repetition(trigger),
            }
        ),
    )


def _hash_content(
    entry: PostEntry, trigger: Trigger, expires_at: datetime | None
) -> Fingerprint:
    """Return the hash of the words that staff wrote, and of the rules for them.

    `to` and `at` are not in it: a new account changes no content, and moving a post is no edit. A
    field without a value is left out. So a field of a later version changes no stored post.
    """
    fields = {
        "id": entry.id,
        "kind": entry.kind,
        "template": entry.template,
        "author": entry.author,
        "follows": entry.follows,
        "level": entry.level,
        "title": entry.title,
        "body": entry.body,
        "expires": expires_at,
        "max_delay": entry.max_delay.total_seconds(),
        "urgent": entry.urgent,
        "images": [image.list_hashed() for image in entry.images],
        "text": entry.text,
        "data": entry.data,
        **_repetition(trigger),
    }
    return _hash_fields(fields)


def _hash_fields(fields: Mapping[str, object]) -> Fingerprint:
    return fingerprint({name: value for name, value in fields.items() if value})


def _repetition(trigger: Trigger) -> dict[str, object]:
    """Return the fields that say when a repeating post repeats."""
    if not isinstance(trigger, CronTrigger):
        return {}
    return {
        "cron": trigger.text,
        "from": trigger.since,
        "until": trigger.until,
        "days": trigger.days,
    }
