"""The folder that publisher works in.

It has settings, secrets, and a schedule that staff write and rewrite.
"""

import json
import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from zlib import crc32

from tests.simulation.platforms import EPOCH

PLATFORMS = ("weibo", "wechat", "tieba")
IDENTITIES = {
    "weibo-a": "1400000001",
    "weibo-b": "1400000002",
    "wechat-a": "wx0000000000000001",
    "tieba-a": "tb.1.00000001.drill",
}
GROUP = "everyone"
"""The name of the group of accounts that settings may have."""
SPARE_IDENTITIES = {"weibo-c": "1400000003", "wechat-b": "wx0000000000000002"}
"""Accounts of single kinds of storms that no shape draws."""
PORT = 8710
SEALED_LINE = re.compile(rb'^(\{.+),"crc32":"[0-9a-f]{8}"\}\n', re.MULTILINE)
"""A whole line of the journal, without its checksum."""
AUTHOR = "zhang"
"""The author of all posts."""
SETTINGS = """environment = "drill"
timezone = "Asia/Shanghai"
secrets_dir = "secrets"
public_ip = "192.0.2.1"
[region.110000]
name = "北京"
police = "北京市公安局"
hotline = "110"
tip_line = "12377"
tip_link = "https://example.gov.cn/tips"
"""
APPROVALS = 'approval_preset = "two persons"\n'
ALERTS = """[alerts]
first = ["duty"]
second = ["chief"]
[alerts.channels]
duty = "alert-duty"
chief = "alert-chief"
"""
LIMITS = """[limits.{platform}]
min_interval = "2s"
per_hour = {per_hour}
per_day = 10000
request_timeout = "{waits.deadline}s"
lease_timeout = "{waits.lease}s"
visibility_window = "{waits.visibility}s"
first_check_after = "5s"
retry_first = "2s"
platform_clock_tolerance = "3s"
"""
OWN = {
    "weibo": 'link_template = "https://example.gov.cn/n/{marker}"\n',
    "wechat": 'profile = "mass"\n',
    "tieba": 'forum = "演练"\naccept_risk = true\n',
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """Maximum seconds of a call, of its lease, and until its post is visible.

    `review` is how long a review may hide a post from Weibo's list.
    """

    deadline: int = 6
    lease: int = 10
    visibility: int = 60
    review: int = 120


def platform_of(account: str) -> str:
    return account.split("-", maxsplit=1)[0]


def identity_of(account: str) -> str:
    return IDENTITIES.get(account) or SPARE_IDENTITIES[account]


@dataclass(slots=True, kw_only=True)
class SchedulePost:
    """One post of the schedule."""

    id: str
    title: str
    accounts: tuple[str, ...]
    at: datetime | None = None
    cron: str | None = None
    until: datetime | None = None
    follows: str | None = None
    corrects: bool = False
    """True if it corrects the post that it follows."""
    expires: datetime | None = None
    max_delay: str = "6h"
    urgent: bool = False
    body: str = "正规退款原路退回，不需要转账。"
    picture: str | None = None
    """A file in the workspace."""
    region_title: str | None = None
    """The title of its only region: with one the post is a family."""
    names_group: bool = False
    """True if its accounts are the accounts of GROUP."""

    @property
    def text(self) -> str:
        kind = (
            "correction" if self.corrects else "update" if self.follows else "warning"
        )
        lines: dict[str, object] = {
            "id": self.id,
            "kind": kind,
            "template": kind,
            "author": AUTHOR,
            "level": "orange",
            "title": self.title,
            "body": self.body,
            "to": [GROUP] if self.names_group else list(self.accounts),
            "max_delay": self.max_delay,
        }
        lines |= {"follows": self.follows} if self.follows else {}
        lines |= {"urgent": True} if self.urgent else {}
        lines |= {"cron": self.cron} if self.cron else {}
        since = instant(EPOCH) if self.cron and self.until else None
        instants = {
            "at": self.at,
            "from": since,
            "until": self.until,
            "expires": self.expires,
        }
        table = "".join(
            f"{key} = {json.dumps(value, ensure_ascii=False)}\n"
            for key, value in lines.items()
        )
        table += "".join(
            f"{key} = {value:%Y-%m-%dT%H:%M:%SZ}\n"
            for key, value in instants.items()
            if value
        )
        table += (
            f'images = [{{ file = "{self.picture}", alt = "配图" }}]\n'
            if self.picture
            else ""
        )
        table += '[post.data]\nsummary = "凡自称客服要求转账退款的都是诈骗，请挂断"\n'
        if self.corrects:
            table += 'wrong = "电话号码有误"\nright = "请拨打110"\n'
        if self.region_title:
            table += f'[post.region.110000]\ntitle = "{self.region_title}"\n'
        return f"[[post]]\n{table}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountTable:
    """One account of the settings.

    `token_of` is another identity; the account has the secret of this identity.
    """

    id: str
    identity: str
    is_exclusive: bool = False
    token_of: str | None = None
    own: str | None = None
    """The lines that only its platform knows; None for the usual ones."""

    @property
    def platform(self) -> str:
        return platform_of(self.id)

    @property
    def secret(self) -> str:
        """The name of its secret."""
        return self.id

    @property
    def secret_values(self) -> dict[str, str]:
        owner = self.token_of or self.identity
        secrets = {
            "weibo": {
                "app_key": "1000000000",
                "app_secret": "s",
                "access_token": owner,
            },
            "wechat": {"app_id": owner, "app_secret": "s"},
            "tieba": {"BDUSS": owner, "STOKEN": "s"},
        }
        return secrets[self.platform]

    @property
    def text(self) -> str:
        lines = {
            "id": self.id,
            "platform": self.platform,
            "identity": self.identity,
            "region": "110000",
            "secret": self.secret,
            "base_url": f"http://127.0.0.1:{PORT}",
        }
        body = "".join(f"{key} = {json.dumps(value)}\n" for key, value in lines.items())
        own = OWN[self.platform] if self.own is None else self.own
        return (
            f"[[account]]\n{body}"
            + ("exclusive = true\n" if self.is_exclusive else "")
            + own
        )


@dataclass(slots=True, kw_only=True)
class SimulatedWorkspace:
    """A folder, and the entries of its schedule as last written.

    `edited` holds the posts that were changed or removed.
    """

    folder: Path
    entries: dict[str, SchedulePost] = field(default_factory=dict)
    edited: set[str] = field(default_factory=set)
    reshaped: set[str] = field(default_factory=set)
    """Posts that became families after a call, or families that became ordinary posts."""
    every: dict[str, SchedulePost] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)
    """Every schedule that was saved."""
    settings_head: str = ""
    accounts: dict[str, AccountTable] = field(default_factory=dict)
    """The accounts of the settings, by the names that the simulation calls them."""
    group: tuple[str, ...] = ()
    """The accounts of GROUP; no such group if there are none."""

    @property
    def schedule(self) -> Path:
        return self.folder / "schedule.toml"

    @property
    def database(self) -> Path:
        return self.folder / "var" / "publisher.db"

    @property
    def journal(self) -> Path:
        return self.folder / "var" / "intents.jsonl"

    @property
    def text(self) -> str:
        return "\n".join(entry.text for entry in self.entries.values())

    def write_settings(self) -> None:
        """Save the settings, and the secret of each account, as they are now."""
        for table in self.accounts.values():
            (self.folder / "secrets" / table.secret).write_text(
                json.dumps(table.secret_values), "utf-8"
            )
        groups = (
            [f"[groups]\n{GROUP} = {json.dumps(list(self.group))}\n"]
            if self.group
            else []
        )
        parts = [
            self.settings_head,
            *groups,
            *(table.text for table in self.accounts.values()),
        ]
        (self.folder / "publisher.toml").write_text("\n".join(parts), "utf-8")

    def add(self, entry: SchedulePost) -> None:
        self.entries[entry.id] = self.every[entry.id] = entry

    def take_over(self, entry: SchedulePost, now: datetime) -> None:
        """Note an entry that a person has saved into the file just now."""
        self.add(entry)
        self.edited.add(entry.id)
        self.texts.append(self.schedule.read_text("utf-8"))
        os.utime(self.schedule, (now.timestamp(), now.timestamp()))

    def write(self, now: datetime, *, cut: bool = False) -> None:
        """Save the schedule as of now, or only its first half.

        A half is the work of an editor that is still writing.
        """
        whole = self.text
        self.texts.append(whole[: len(whole) // 2] if cut else whole)
        self.schedule.write_text(self.texts[-1], "utf-8")
        os.utime(self.schedule, (now.timestamp(), now.timestamp()))

    def tear_journal(self, share: float) -> None:
        """Append the beginning of a line to the journal, like a crash in the middle of writing."""
        line = (
            '{"delivery":1,"attempt":1,"fencing_token":1,"rendered_hash":"00",'
            '"at":"2026-11-25T01:00:00+00:00"}'
        )
        with self.journal.open("a", encoding="utf-8") as file:
            file.write(line[: max(1, int(share * len(line)))])

    def add_journal_key(self) -> None:
        """Add an unknown key to every whole line, as a newer release might.

        This release does not know the key.
        """
        if self.journal.exists():
            self.journal.write_bytes(
                SEALED_LINE.sub(_with_another_key, self.journal.read_bytes())
            )

    def break_template(self, name: str) -> None:
        """Override a shipped template by one that cannot be compiled."""
        page = self.folder / "templates" / name / "default.txt"
        page.parent.mkdir()
        page.write_text("{% if title %}{{ title }}", "utf-8")

    def restore_template(self, name: str) -> None:
        shutil.rmtree(self.folder / "templates" / name)

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def _with_another_key(line: re.Match[bytes]) -> bytes:
    body = line[1] + b',"of_a_newer_release":{"n":1}'
    return body + b',"crc32":"%08x"}\n' % crc32(body)


def make_workspace(
    accounts: Sequence[str],
    per_hour: int,
    waits: Waits,
    template: Path,
    *,
    needs_approval: bool = False,
    notifies: bool = False,
) -> SimulatedWorkspace:
    """Create a workspace, in memory where possible, with a database copied from `template`.

    One that notifies people has channels, and accounts that nobody else posts on.
    """
    memory = Path("/dev/shm")  # noqa: S108 # a folder of our own is made in it
    folder = Path(
        tempfile.mkdtemp(
            prefix="publisher-sim-", dir=memory if memory.is_dir() else None
        )
    )
    for name in ("secrets", "media", "templates", "var"):
        (folder / name).mkdir()
    limits = [
        LIMITS.format(platform=platform, per_hour=per_hour, waits=waits)
        for platform in PLATFORMS
    ]
    limits[PLATFORMS.index("weibo")] += f'review_window = "{waits.review}s"\n'
    head = [
        *([APPROVALS] if needs_approval else []),
        SETTINGS,
        *limits,
        *([ALERTS] if notifies else []),
    ]
    tables = {
        name: AccountTable(id=name, identity=identity_of(name), is_exclusive=notifies)
        for name in accounts
    }
    workspace = SimulatedWorkspace(
        folder=folder, settings_head="\n".join(head), accounts=tables
    )
    workspace.write_settings()
    shutil.copy(template, folder / "var" / "publisher.db")
    return workspace


def instant(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
