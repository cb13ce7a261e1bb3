"""What a publisher.toml must be beyond its types. Every mistake is named, at its place."""

from collections import Counter
from collections.abc import Collection, Iterator
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from publisher.config.addresses import (
    is_ip,
    is_link_template,
    is_listen_address,
    is_loopback,
    is_public_ipv4,
    parse_host,
    resolve_database_url,
)
from publisher.config.schema import AccountEntry, LimitEntry, SettingsFile
from publisher.domain.account import Account, Platform
from publisher.tomlfile import UnlocatedProblem, suggest_closest

BUILT_IN_PLATFORMS: frozenset[str] = frozenset({"weibo", "wechat", "tieba", "webhook"})
WEIBO_PROFILES = ("share", "update", "biz")
"""The sets of calls that Weibo grants; a profile of another platform is its adapter's own matter."""


def find_global_problems(file: SettingsFile, platforms: Collection[str]) -> Iterator[UnlocatedProblem]:
    """Judge what concerns all accounts."""
    if not _is_timezone(file.timezone):
        facts = {
            "value": file.timezone,
            "choices": suggest_closest(file.timezone, ["Asia/Shanghai", *available_timezones()]),
        }
        yield UnlocatedProblem(path=("timezone",), code="unknown_timezone", facts=facts)
    if resolve_database_url(file.database, Path("/")) is None:
        yield UnlocatedProblem(path=("database",), code="bad_database")
    if not is_listen_address(file.dashboard.listen):
        yield UnlocatedProblem(path=("dashboard", "listen"), code="bad_listen", facts={"value": file.dashboard.listen})
    if file.callbacks.listen is not None and not is_listen_address(file.callbacks.listen):
        yield UnlocatedProblem(path=("callbacks", "listen"), code="bad_listen", facts={"value": file.callbacks.listen})
    if file.public_ip and not is_ip(file.public_ip):
        yield UnlocatedProblem(path=("public_ip",), code="bad_ip", facts={"value": file.public_ip})
    for kind, stages in file.approvals.items():
        if stages:
            yield UnlocatedProblem(path=("approvals", kind), code="approvals_not_available", facts={"kind": kind})
    for platform, limits in file.limits.items():
        if platform not in platforms:
            facts = {"value": platform, "choices": suggest_closest(platform, sorted(platforms))}
            yield UnlocatedProblem(path=("limits", platform), code="unknown_platform", facts=facts, is_at_key=True)
        yield from _find_limit_problems(platform, limits)


def _find_limit_problems(platform: str, limits: LimitEntry) -> Iterator[UnlocatedProblem]:
    for name in ("request_timeout", "lease_timeout", "visibility_window", "first_check_after", "retry_first"):
        if getattr(limits, name) == timedelta(0):
            yield UnlocatedProblem(path=("limits", platform, name), code="not_zero", facts={"key": name})
    given = [
        (name, value)
        for name in ("request_timeout", "lease_timeout", "visibility_window")
        if (value := getattr(limits, name)) is not None
    ]
    for (shorter, least), (longer, most) in pairwise(given):
        if least >= most:
            facts = {"shorter": shorter, "longer": longer}
            yield UnlocatedProblem(path=("limits", platform, longer), code="wrong_order", facts=facts)
    if limits.per_hour and limits.per_day and limits.per_hour > limits.per_day:
        facts = {"shorter": "per_hour", "longer": "per_day"}
        yield UnlocatedProblem(path=("limits", platform, "per_hour"), code="hour_over_day", facts=facts)


def find_account_problems(file: SettingsFile, platforms: Collection[str]) -> Iterator[UnlocatedProblem]:
    """Judge each account, and that no two are the same."""
    ids: dict[str, int] = {}
    voices: dict[tuple[str, str, str | None], int] = {}
    for index, item in enumerate(file.account):
        here = ("account", index)
        if (first := ids.setdefault(item.id, index)) != index:
            lines = {"first": ("account", first, "id")}
            yield UnlocatedProblem(
                path=(*here, "id"), code="duplicate_account", facts={"account": item.id}, line_facts=lines
            )
        voice = (item.platform, item.identity, item.forum)
        if (first := voices.setdefault(voice, index)) != index:
            facts = {"account": item.id, "other": file.account[first].id}
            lines = {"first": ("account", first, "identity")}
            yield UnlocatedProblem(path=(*here, "identity"), code="same_identity", facts=facts, line_facts=lines)
        if item.platform not in platforms:
            facts = {"value": item.platform, "choices": suggest_closest(item.platform, sorted(platforms))}
            yield UnlocatedProblem(path=(*here, "platform"), code="unknown_platform", facts=facts)
        if item.region and item.region not in file.region:
            facts = {"value": item.region, "choices": suggest_closest(item.region, file.region)}
            yield UnlocatedProblem(path=(*here, "region"), code="unknown_region", facts=facts)
        yield from _find_mode_problems(item, index)
        yield from _find_address_problems(item, index, is_drill=file.environment == "drill")
        yield from _find_public_ip_problems(item, index, file)


def _find_mode_problems(item: AccountEntry, index: int) -> Iterator[UnlocatedProblem]:
    facts = {"account": item.id}
    if item.forum and item.platform in BUILT_IN_PLATFORMS - {"tieba"}:
        yield UnlocatedProblem(
            path=("account", index, "forum"), code="forum_only_on_tieba", facts=facts, is_at_key=True
        )
    if item.link_template is not None and not is_link_template(item.link_template):
        yield UnlocatedProblem(path=("account", index, "link_template"), code="bad_link_template", facts=facts)
    if item.platform == "weibo" and item.profile not in {None, *WEIBO_PROFILES}:
        choices = {"value": item.profile or "", "choices": ", ".join(WEIBO_PROFILES)}
        yield UnlocatedProblem(
            path=("account", index, "profile"), code="weibo_profile_unknown", facts={**facts, **choices}
        )
    if item.mode != "off" and item.platform == "tieba" and not item.forum:
        yield UnlocatedProblem(path=("account", index, "forum"), code="forum_missing", facts=facts)
    if item.mode == "api":
        platform, profile = Platform(item.platform), item.profile
        for key, code in _find_missing_settings(
            platform, profile, has_accepted_risk=item.accept_risk, link_template=item.link_template
        ):
            yield UnlocatedProblem(path=("account", index, key), code=code, facts=facts)


def find_api_blocker(account: Account) -> str | None:
    """Give the code of what the settings of an account lack for automatic posting; None where nothing is missing."""
    lacks = _find_missing_settings(
        account.platform,
        account.profile,
        has_accepted_risk=account.has_accepted_risk,
        link_template=account.link_template,
    )
    return next((code for _key, code in lacks), None)


def _find_missing_settings(
    platform: Platform, profile: str | None, *, has_accepted_risk: bool, link_template: str | None
) -> Iterator[tuple[str, str]]:
    if platform == "tieba" and not has_accepted_risk:
        yield "accept_risk", "risk_not_accepted"
    if platform == "weibo" and profile in {None, "share"} and link_template is None:
        yield "link_template", "link_template_missing"


def _find_address_problems(item: AccountEntry, index: int, *, is_drill: bool) -> Iterator[UnlocatedProblem]:
    facts = {"account": item.id}
    if item.base_url is None:
        if is_drill:
            yield UnlocatedProblem(path=("account", index, "base_url"), code="drill_needs_base_url", facts=facts)
    elif (host := parse_host(item.base_url)) is None:
        yield UnlocatedProblem(path=("account", index, "base_url"), code="bad_base_url", facts=facts)
    elif is_drill and not is_loopback(host):
        yield UnlocatedProblem(
            path=("account", index, "base_url"), code="drill_not_loopback", facts={**facts, "host": host}
        )
    elif urlsplit(item.base_url).scheme != "https" and not is_loopback(host):
        yield UnlocatedProblem(
            path=("account", index, "base_url"), code="base_url_not_https", facts={**facts, "host": host}
        )


def _find_public_ip_problems(item: AccountEntry, index: int, file: SettingsFile) -> Iterator[UnlocatedProblem]:
    """Name an address that is none, or that Weibo would not take in earnest: it wants a public IPv4."""
    address = item.public_ip or file.public_ip
    if item.public_ip and not is_ip(item.public_ip):
        yield UnlocatedProblem(path=("account", index, "public_ip"), code="bad_ip", facts={"value": item.public_ip})
    elif address and is_ip(address) and not is_public_ipv4(address):
        loc = ("account", index, "public_ip") if item.public_ip else ("public_ip",)
        if file.environment == "live" and item.platform == "weibo" and item.mode == "api":
            yield UnlocatedProblem(path=loc, code="ip_not_public", facts={"value": address, "account": item.id})


def find_group_problems(file: SettingsFile) -> Iterator[UnlocatedProblem]:
    """Judge the groups: by their names, and by their members."""
    accounts = [item.id for item in file.account]
    for name, members in file.groups.items():
        if name in accounts or name == "all" or ":" in name:
            yield UnlocatedProblem(path=("groups", name), code="bad_group_name", facts={"value": name}, is_at_key=True)
        counts = Counter(members)
        for position, member in enumerate(members):
            if member not in accounts:
                facts = {"value": member, "group": name, "choices": suggest_closest(member, accounts)}
                yield UnlocatedProblem(path=("groups", name, position), code="unknown_member", facts=facts)
            elif counts[member] > 1 and members.index(member) != position:
                facts = {"value": member, "group": name}
                yield UnlocatedProblem(path=("groups", name, position), code="duplicate_member", facts=facts)


def _is_timezone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True
