"""The files of a new workspace, and of a drill with the simulator's accounts."""

import json
import tomllib
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit import TOMLDocument
from tomlkit.items import AoT

from publisher.cli.errors import CommandFailedError
from publisher.domain.kinds import CORRECTING_KINDS, PostKind, list_kinds
from publisher.schedule.model import schedule_schema
from publisher.settings_file import settings_schema

SAMPLES_FOLDER = files("publisher.cli") / "workspace_files"
WORKSPACE_FOLDERS = ("templates", "media", "var")
PRIVATE_FOLDER = "secrets"
SETTINGS_SCHEMA_LINE = "#:schema ./publisher.schema.json"
"""The line by which editors find the schema of publisher.toml."""
TIMEZONE = "Asia/Shanghai"
PLATFORMS = ("weibo", "wechat", "tieba")
CALLBACK_SIGNING_KEY = "drill"
"""The key that signs messages of the simulated WeChat."""
NORTHERN_PROVINCES = ("11", "12", "13", "14", "15", "21", "22", "23")
"""The first two digits of the northern provinces in GB/T 2260."""
DEMO_LIMITS = {
    "min_interval": "200ms",
    "per_hour": 10000,
    "per_day": 20000,
    "request_timeout": "5s",
    "lease_timeout": "12s",
    "visibility_window": "15s",
    "first_check_after": "500ms",
    "retry_first": "300ms",
    "platform_clock_tolerance": "1s",
}
"""So short that an unknown outcome is resolved while one watches; no real platform is this fast."""
WEIBO_DEMO_LIMITS = {**DEMO_LIMITS, "review_window": "20s"}
REPLACED_TIME_KEYS = ("cron", "from", "until", "days")
"""Keys that have no meaning once the demo has set `at`."""


def new_workspace_files() -> dict[str, bytes]:
    """Return a new workspace's files by their path inside it. It has no account and no post yet."""
    schedule = (SAMPLES_FOLDER / "schedule.toml").read_text("utf-8")
    return {
        "publisher.toml": (SAMPLES_FOLDER / "publisher.toml").read_bytes(),
        "publisher.schema.json": _format_schema(settings_schema()),
        "schedule.toml": schedule.replace("{kinds}", list_kinds()).encode(),
        "schedule.schema.json": _format_schema(schedule_schema()),
        "templates/README.md": (SAMPLES_FOLDER / "templates-README.md").read_bytes(),
        ".gitignore": (SAMPLES_FOLDER / "gitignore").read_bytes(),
    }


def _format_schema(schema: Mapping[str, Any]) -> bytes:
    return f"{json.dumps(schema, ensure_ascii=False, indent=2)}\n".encode()


def find_shipped_schedule() -> Traversable:
    """Return the demo's schedule: inside the package, or beside it in a source tree."""
    package = files("publisher")
    packaged = package / "_workspace" / "schedule.toml"
    return (
        packaged if packaged.is_file() else Path(str(package)).parent / "schedule.toml"
    )


def create_workspace(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write a workspace.

    Raises CommandFailedError, and writes nothing, when a file or folder exists already.
    """
    taken = [
        name
        for name in contents
        if (folder / name).exists() or (folder / name).is_symlink()
    ]
    taken += [
        name
        for name in WORKSPACE_FOLDERS
        if (folder / name).exists() and not (folder / name).is_dir()
    ]
    if taken or (folder.exists() and not folder.is_dir()):
        raise CommandFailedError(
            "workspace_not_empty",
            folder=folder,
            names="、".join(sorted(taken)) or folder,
        )
    for name in WORKSPACE_FOLDERS:
        (folder / name).mkdir(parents=True, exist_ok=True)
    for name, data in contents.items():
        path = folder / name
        is_private = path.parent.name == PRIVATE_FOLDER
        path.parent.mkdir(exist_ok=True, mode=0o700 if is_private else 0o777)
        try:
            with path.open("xb") as file:
                if is_private:
                    path.chmod(0o600)
                file.write(data)
        except OSError as error:
            error.filename = str(path)  # a full disk is reported without it
            raise


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A city with its code (GB/T 2260), and its police (`agency`).

    `agency` is the name of the police's accounts, and their signature.
    """

    code: str
    name: str
    slug: str
    agency: str
    forum: str
    hotline: str
    tip_line: str
    tip_link: str


def read_regions() -> Sequence[Region]:
    """Return all regions, the capital first."""
    text = (SAMPLES_FOLDER / "regions.toml").read_text("utf-8")
    return [Region(**table) for table in tomllib.loads(text)["region"]]


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoAccount:
    id: str
    platform: str
    identity: str
    region: Region

    @property
    def secret(self) -> Mapping[str, str]:
        """Return credentials that the simulator accepts because they name the account."""
        match self.platform:
            case "weibo":
                return {
                    "app_key": "1000000000",
                    "app_secret": "drill",
                    "access_token": self.identity,
                }
            case "wechat":
                return {
                    "app_id": self.identity,
                    "app_secret": "drill",
                    "callback_token": CALLBACK_SIGNING_KEY,
                }
            case _:
                return {"BDUSS": self.identity, "STOKEN": "drill"}


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoWorkspace:
    """A drill in some regions against a simulator. It calls back to `callback_listen`, if set.

    With `dashboard_listen` the demo serves the dashboard there itself, and one person must approve
    each post.
    """

    regions: Sequence[Region]
    simulator_url: str
    callback_listen: str | None = None
    dashboard_listen: str | None = None

    @property
    def accounts(self) -> Sequence[DemoAccount]:
        return [
            DemoAccount(
                id=f"{region.slug}-{platform}",
                platform=platform,
                identity=identity,
                region=region,
            )
            for region in self.regions
            for platform, identity in (
                ("weibo", f"1{region.code}001"),
                ("wechat", f"wx{region.code}0000000000"),
                ("tieba", f"tb.1.{region.slug}"),
            )
        ]


def demo_files(demo_workspace: DemoWorkspace) -> dict[str, bytes]:
    """Return the special files of a drill's workspace: settings, secrets, posts and pictures."""
    accounts = []
    for account in demo_workspace.accounts:
        entry: dict[str, Any] = {
            "id": account.id,
            "platform": account.platform,
            "identity": account.identity,
            "region": account.region.code,
            "secret": account.id,
            "base_url": demo_workspace.simulator_url,
        }
        if account.platform == "weibo":
            entry["link_template"] = "https://example.gov.cn/n/{marker}"
        if account.platform == "tieba":
            entry |= {"forum": account.region.forum, "accept_risk": True}
        accounts.append(entry)
    north = [
        account.id
        for account in demo_workspace.accounts
        if account.region.code.startswith(NORTHERN_PROVINCES)
    ]
    settings = {
        "environment": "drill",
        "timezone": TIMEZONE,
        "secrets_dir": "secrets",
        **(
            {"callbacks": {"listen": demo_workspace.callback_listen}}
            if demo_workspace.callback_listen
            else {}
        ),
        **demo_people_settings(demo_workspace),
        "limits": {**dict.fromkeys(PLATFORMS, DEMO_LIMITS), "weibo": WEIBO_DEMO_LIMITS},
        "region": {
            region.code: {
                "police": region.agency,
                **{
                    name: getattr(region, name)
                    for name in ("name", "hotline", "tip_line", "tip_link")
                },
            }
            for region in demo_workspace.regions
        },
        "groups": {"north": north},
        "account": accounts,
    }
    secrets = {
        f"secrets/{account.id}": json.dumps(account.secret).encode()
        for account in demo_workspace.accounts
    }
    pictures = {
        f"media/{picture.name}": picture.read_bytes()
        for picture in (SAMPLES_FOLDER / "media").iterdir()
    }
    schedule = find_shipped_schedule().read_bytes()
    return {
        "publisher.toml": f"{SETTINGS_SCHEMA_LINE}\n{tomlkit.dumps(settings)}".encode(),
        "schedule.toml": schedule,
        **secrets,
        **pictures,
    }


def demo_people_settings(demo_workspace: DemoWorkspace) -> dict[str, Any]:
    """Return the settings of a demo that is watched, and acted in, in a browser."""
    if demo_workspace.dashboard_listen is None:
        return {}
    return {
        "dashboard": {"enabled": False, "listen": demo_workspace.dashboard_listen},
        "approvals": {kind.value: [{"stage": "审核"}] for kind in PostKind},
    }


def postpone_schedule(text: str, now: datetime) -> str:
    """Return the schedule moved by whole weeks, with its first post due over a day after `now`.

    `now` has no offset.
    """
    document = tomlkit.parse(text)
    posts = _posts_of(document)
    first = min(post["at"] for post in posts if "at" in post)
    late = now + timedelta(days=1) - first
    if late < timedelta():
        return text
    for post in posts:
        _move_days(post, timedelta(weeks=late // timedelta(weeks=1) + 1))
    return tomlkit.dumps(document)


def _move_days(table: MutableMapping[str, Any], shift: timedelta) -> None:
    """Move all instants and days of a post, also in its data."""
    for key, value in table.items():
        if isinstance(value, date):
            table[key] = value + shift
        elif isinstance(value, MutableMapping):
            _move_days(value, shift)


def shift_schedule(
    text: str,
    start: datetime,
    spread: timedelta,
    correction_delay: timedelta,
    *,
    is_single_warning: bool = False,
) -> str:
    """Return the schedule with new due times: the first at `start`, the last `spread` later.

    `start` has no offset. The order of posts stays, so that follow-ups come after originals.
    Expiries move along, and the days of a text by whole weeks. Corrections come `correction_delay`
    after all others: a due correction stops its original wherever that is not out. With
    `is_single_warning` only one warning to all remains.
    """
    document = tomlkit.parse(text)
    posts = _posts_of(document)
    if is_single_warning:
        warnings = (
            index
            for index, post in enumerate(posts)
            if post["kind"] == "warning" and post["to"] == ["all"]
        )
        kept = next(warnings)
        del posts[kept + 1 :], posts[:kept]
    others = [post for post in posts if post["kind"] not in CORRECTING_KINDS]
    steps = max(len(others) - 1, 1)
    times = {
        post["id"]: start + spread * position / steps
        for position, post in enumerate(others)
    }
    for post in posts:
        for key in REPLACED_TIME_KEYS:
            post.pop(key, None)
        at = times.get(post["id"], start + spread + correction_delay)
        at = at.replace(microsecond=0)
        later = at - post.get("at", at)
        if "expires" in post:
            post["expires"] += later
        # the days of a text stay before it, and on their weekdays
        weeks = later // timedelta(weeks=1)
        _move_days(post.get("data", {}), timedelta(weeks=weeks))
        post["at"] = at
    return tomlkit.dumps(document)


def _posts_of(document: TOMLDocument) -> AoT:
    posts = document["post"]
    if not isinstance(posts, AoT):
        raise TypeError(posts)
    return posts
