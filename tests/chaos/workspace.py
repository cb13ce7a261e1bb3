"""The workspace of a campaign: accounts, secrets, and a schedule in several versions."""

import hashlib
import json
import shutil
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, timezone
from itertools import cycle
from pathlib import Path
from random import Random

from PIL import Image

PLATFORMS = ("weibo", "wechat", "tieba")
MOST_REGIONS = 50
PER_REGION = 20
"""Deliveries per region.

With this a small campaign has few accounts with several posts each.
"""
TIEBA_SHARE = 0.03
"""A small share: a lost Tieba post is never sent again by itself and waits for a person."""
CANARY = "canary-7d1f0a94-never-to-be-seen"
"""The main part of every account's secret. Any copy of it elsewhere is a leak."""
WECHAT_SHARE, WECHAT_SHARE_OF_MANY = 0.485, 0.06
"""Smaller where there are very many deliveries.

Each article takes several calls and a read of its own. A daemon that lives for a second or two has
little time for that.
"""
LATE = 6 * 3600
"""Seconds that most posts may be late. Deaths delay them on purpose."""
SIZES = (4, 12)
"""Accounts of one post."""
FAMILY_EVERY = 6
"""One in so many posts is a family, where it can be one."""
MANY, WIDE_SIZES = 3000, (30, 54)
"""A campaign of so many deliveries has wide posts, so that the schedule stays short."""
FEW_POSTS = 40
SPARE, URGENT = "weibo-spare", "weibo-urgent"
"""Accounts that changes alone post on: one changes hands, the other is for urgent warnings."""
GROUP, GROUP_SIZE = "some", 3
"""The group of accounts that people make smaller by mistake, and how many it has."""
NOT_NOW = timedelta(days=1)
TIGHT_SHARE, TIGHT_SHARE_OF_FEW = 0.02, 0.25
TIGHT_EXPIRES = timedelta(seconds=1)
"""Some posts hold true for so long only: later they must end as expired, never go out."""
PROMPT_SHARE, PROMPT_LATE = 0.05, 1
"""Others may be claimed so many seconds late at most."""
TIGHT_AHEAD = timedelta(seconds=20)
REPEATING = "daily-1"
MINUTELY, MINUTELY_TITLE = "minute-1", "每分钟提醒"
"""The post that repeats while nothing gets through. Its words are in no other post."""
MINUTELY_LATE = 600
HALF_A_DAY = timedelta(hours=12)
EPOCH = datetime.fromtimestamp(0, UTC)
BEIJING = timezone(timedelta(hours=8))
HOTLINES = ("110", "96110")
USED_TEMPLATE, UNUSED_TEMPLATE = "warning", "bulletin"
HIDING = "weibo"
"""The platform that hides a post from its own list while it reviews it."""
NAMED, NAME = "weibo", "localhost"
"""The platform with a named host, and that name. Others are found by their address."""

AUTHOR = "zhang"
"""The author of all posts."""
ALERTS = '\n[alerts]\nfirst = ["duty"]\n[alerts.channels]\nduty = "alert-duty"\n'
SETTINGS = """environment = "drill"
dashboard = { enabled = false }
secrets_dir = "secrets"
public_ip = "192.0.2.1"
"""
PRESET = 'approval_preset = "two persons"\napprove_days = 2\n'
"""Every post needs two people. Planning of repeating posts is no earlier than without them."""
LIMITS = """[limits.{platform}]
min_interval = "0.05s"
per_hour = 100000
per_day = 1000000
request_timeout = "1.5s"
lease_timeout = "2s"
visibility_window = "4s"
first_check_after = "0.4s"
retry_first = "0.2s"
platform_clock_tolerance = "1s"
"""
REVIEW_WINDOW = 'review_window = "7s"\n'
"""The window of Weibo. Its lists hide posts under review.

The longest review of a campaign is shorter.
"""
CALL_LIMITS = {
    'request_timeout = "1.5s"': 'request_timeout = "6s"',
    'lease_timeout = "2s"': 'lease_timeout = "10s"',
    'visibility_window = "4s"': 'visibility_window = "15s"',
    'review_window = "7s"': 'review_window = "18s"',
}
"""Limits longer than in a campaign.

In a campaign a call must outlive an outage of some seconds, or a slow host.
"""
REGION = """[region.{account.region}]
name = "第{account.number}区"
police = "{account.police}"
hotline = "{hotline}"
tip_line = "12377"
tip_link = "https://example.gov.cn/tips/{account.region}"
"""
OWN = {
    "weibo": 'link_template = "https://example.gov.cn/n/{marker}"\n',
    "wechat": 'profile = "mass"\n',
    "tieba": 'forum = "演练"\naccept_risk = true\n',
}
OF_MANY = 'profile = "biz"\n'
"""An ordinary Weibo account makes at most three posts while one is in doubt: its list has five.

Where there is very much to send, each account belongs to a business. A hundred of its posts can be
read.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignAccount:
    id: str
    platform: str
    identity: str
    number: int

    @property
    def region(self) -> str:
        return f"{110000 + self.number}"

    @property
    def police(self) -> str:
        return f"第{self.number}区公安"

    @property
    def secret(self) -> dict[str, str]:
        match self.platform:
            case "weibo":
                return {
                    "app_key": "1000000000",
                    "app_secret": CANARY,
                    "access_token": f"{CANARY}-{self.identity}",
                }
            case "wechat":
                return {"app_id": self.identity, "app_secret": CANARY}
            case _:
                return {"BDUSS": f"{CANARY}-{self.identity}", "STOKEN": CANARY}


@dataclass(slots=True, kw_only=True)
class WrittenPost:
    """One post. `number` in its title lets the judge know its copies; `due` is set at writing."""

    number: int
    accounts: tuple[str, ...]
    wave: int
    urgent: bool = False
    pictured: bool = False
    follows: str | None = None
    withdrawn: bool = False
    tight: bool = False
    prompt: bool = False
    edits: int = 0
    due: datetime | None = None
    left_out: tuple[str, ...] = ()
    """Accounts that were taken out of it."""
    names_group: bool = False
    """True if it names the group. The group's accounts are its own."""
    is_made_urgent: bool = False
    """True if people made it urgent after it was tried."""
    own_region: str = ""
    """The region with words of its own: the post is a family then, and people leave it alone."""

    @property
    def id(self) -> str:
        return f"{'family' if self.own_region else 'post'}-{self.number:04d}"

    def id_for(self, account: CampaignAccount) -> str:
        """Return the id of the post that an account gets: its region's, if it is a family."""
        return f"{self.id}.{account.region}" if self.own_region else self.id

    @property
    def most_late(self) -> int:
        """Most seconds after its instant until it is first claimed."""
        return PROMPT_LATE if self.prompt else LATE

    @property
    def may_expire(self) -> bool:
        return self.tight or self.prompt

    @property
    def title(self) -> str:
        return f"警惕“退款客服”诈骗第{self.number:04d}期"

    @property
    def edited_title(self) -> str:
        """The present title. It begins with the first one."""
        return f"{self.title}（更正{self.edits}）" if self.edits else self.title

    @property
    def summary(self) -> str:
        return f"凡自称{self.number:04d}号客服要求转账退款的都是诈骗，请挂断"

    @property
    def body(self) -> str:
        return f"{self.number:04d}号客服不存在，正规退款原路退回，不需要转账。"

    @property
    def own_summary(self) -> str:
        return f"{self.own_region}号地区注意：{self.summary}"

    def says(self, account: CampaignAccount) -> list[str]:
        """Return the words that must arrive there, with any template and after any edit."""
        is_own = account.region == self.own_region
        short = [self.title, self.own_summary if is_own else self.summary]
        return (
            short
            if account.platform == "weibo"
            else [*short, self.body, account.police]
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedSchedule:
    """One schedule that was handed out, and its duties of one-time posts, by post and account."""

    text: str
    duties: Sequence[tuple[str, str]]
    is_minutely: bool
    repeating_shift: int | None = 0


@dataclass(slots=True, kw_only=True)
class CampaignWorkspace:
    """A folder for each worker, with settings, secrets and a schedule that grows wave by wave."""

    folders: Sequence[Path]
    accounts: dict[str, CampaignAccount]
    entries: list[WrittenPost]
    is_large: bool
    written: list[WrittenPost] = field(default_factory=list)
    versions: list[IssuedSchedule] = field(default_factory=list)
    finished: set[str] = field(default_factory=set)
    pictures: dict[str, str] = field(default_factory=dict)
    """The SHA-256 of each post's picture, by the post."""
    struck: set[str] = field(default_factory=set)
    repeats_at: datetime = EPOCH
    minutes: tuple[datetime, datetime] | None = None
    """The first and the last instant of the minutely post, if there is one."""
    repeating_edits: int = 0
    repeating_shift: int | None = 0
    """Hours of the daily post's move; None while it is deleted."""
    hotline: str = HOTLINES[0]
    group: tuple[str, ...] = ()
    """The accounts of the group that settings name, if people change any files."""
    spare: CampaignAccount | None = None
    """The account behind SPARE in the settings, if there is one."""
    lock: threading.RLock = field(default_factory=threading.RLock)
    """Several people write files at once."""
    base_url: str = ""
    database: str | None = None
    needs_approval: bool = False
    alerts_url: str = ""
    """Where people are notified of alerts."""
    ahead: timedelta = TIGHT_AHEAD
    """How long before its instant a post is written that may not be late."""

    @property
    def folder(self) -> Path:
        return self.folders[0]

    @property
    def seconds_until_last_due(self) -> float:
        """Seconds until the last outgoing post falls due. Waves overlap where kills come faster."""
        dues = [
            entry.due
            for entry in self.written
            if entry.due and not entry.withdrawn and entry.id not in self.struck
        ]
        return (
            max(0.0, (max(dues) - datetime.now(UTC)).total_seconds()) if dues else 0.0
        )

    def prepare(self, base_url: str, database: str | None) -> None:
        """Write all files except the schedule.

        `database` is a URL, unless each worker has its own file.
        """
        self.base_url, self.database = base_url, database
        hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
        self.repeats_at = hour + HALF_A_DAY
        for name in ("secrets", "media", "templates", "var"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        for account in self.accounts.values():
            (self.folder / "secrets" / account.id).write_text(
                json.dumps(account.secret), "utf-8"
            )
        (self.folder / "secrets" / "alert-duty").write_text(
            json.dumps({"url": self.alerts_url}), "utf-8"
        )
        for entry in self.entries:
            if entry.pictured:
                file = self.folder / "media" / f"{entry.id}.png"
                Image.new("RGB", (320, 200), (20, 60, entry.number % 256)).save(file)
                self.pictures[entry.id] = hashlib.sha256(file.read_bytes()).hexdigest()
        for folder in self.folders[1:]:
            shutil.copytree(self.folder, folder)
        self.write_settings()

    def write_settings(self, renamed: str = "") -> None:
        """Write the settings. A new hotline changes later templates' words, never frozen ones.

        The account `renamed` gets another id in them.
        """
        with self.lock:
            own = {**OWN, "weibo": OWN["weibo"] + OF_MANY} if self.is_large else OWN
            present = (
                {**self.accounts, SPARE: self.spare} if self.spare else self.accounts
            )
            text = _settings(
                list(present.values()), self.base_url, self.database, self.hotline, own
            )
            if self.needs_approval:
                text = PRESET + text
            if self.alerts_url:
                text += ALERTS
            if self.group:
                text += f"\n[groups]\n{GROUP} = {json.dumps(list(self.group))}\n"
            if renamed:
                text = text.replace(f'id = "{renamed}"', f'id = "{renamed}-renamed"')
            for folder in self.folders:
                _replace(folder / "publisher.toml", text)

    def write_secret(self, name: str, owner: CampaignAccount) -> None:
        """Give an account the secret of an account: its own, or another's."""
        for folder in self.folders:
            _replace(folder / "secrets" / name, json.dumps(owner.secret))

    def add_spares(self) -> None:
        """Add the accounts and the group that changes need."""
        first = next(iter(self.accounts.values()))
        identities = {SPARE: "1498000001", URGENT: "1498000002"}
        for name, identity in identities.items():
            self.accounts[name] = replace(
                first, id=name, platform="weibo", identity=identity
            )
        self.group, self.spare = (
            self.ordinary_accounts[:GROUP_SIZE],
            self.accounts[SPARE],
        )

    @property
    def ordinary_accounts(self) -> tuple[str, ...]:
        """The ordinary accounts of platforms that allow a second call, at least for some posts."""
        return tuple(
            name
            for name, one in self.accounts.items()
            if name not in {SPARE, URGENT} and one.platform != "tieba"
        )

    def allow_long_calls(self) -> None:
        """Let calls, leases and the visibility window last longer, as real platforms' limits do."""
        for file in (folder / "publisher.toml" for folder in self.folders):
            text = file.read_text("utf-8")
            for drill, longer in CALL_LIMITS.items():
                text = text.replace(drill, longer)
            _replace(file, text)

    def write_wave(self, wave: int, spread: timedelta, dice: Random) -> None:
        """Write the next version of the schedule.

        The new wave's posts fall due within `spread` from now.
        """
        with self.lock:
            self._write_wave(wave, spread, dice)

    def _write_wave(self, wave: int, spread: timedelta, dice: Random) -> None:
        now = datetime.now(UTC)
        for entry in (entry for entry in self.entries if entry.wave == wave):
            after = dice.random() * spread
            if entry.may_expire:
                after = max(after, self.ahead)
            entry.due = now + (NOT_NOW if entry.withdrawn else after)
            self.written.append(entry)
        due = {entry.id: entry.due for entry in self.written}
        for entry in self.written:
            if entry.follows and entry.due:
                entry.due = max(entry.due, due[entry.follows] or entry.due)
        self.write()

    def put_off(self, known: Collection[str]) -> None:
        """Move unplanned posts that would soon be late. A file with a missed instant is refused."""
        soonest = datetime.now(UTC) + self.ahead
        unknown = (
            entry
            for entry in self.written
            if entry.may_expire and entry.id not in known
        )
        late = [entry for entry in unknown if entry.due and entry.due < soonest]
        for entry in late:
            entry.due = soonest
        if late:
            self.write()

    def write(self) -> None:
        """Hand out the schedule as it is now.

        Posts that have gone out everywhere leave it, as when staff clear up.
        """
        with self.lock:
            self._write()

    def save_for(self, record: Callable[[str], None]) -> None:
        """Hand out the schedule as a person's save, recorded with its text before."""
        with self.lock:
            record(self._make_version().text)
            self._write()

    def _write(self) -> None:
        version = self._make_version()
        self.versions.append(version)
        for folder in self.folders:
            _replace(folder / "schedule.toml", version.text)

    def _make_version(self) -> IssuedSchedule:
        kept = {entry.follows for entry in self.entries if entry.follows}
        gone = self.struck | (self.finished - kept)
        entries = [entry for entry in self.written if entry.id not in gone]
        minutely = [self._minutely()] if self.minutes else []
        repeating = (
            []
            if self.repeating_shift is None
            else [self._repeating(self.repeating_shift)]
        )
        return IssuedSchedule(
            text="\n".join([*map(_table, entries), *repeating, *minutely]),
            duties=[
                (entry.id_for(self.accounts[name]), name)
                for entry in entries
                for name in entry.accounts
            ],
            is_minutely=bool(minutely),
            repeating_shift=self.repeating_shift,
        )

    def mass_sent(self) -> Iterator[tuple[str, str]]:
        """Yield the mass sends, by post and account."""
        for entry in (entry for entry in self.entries if entry.urgent):
            names = (*entry.accounts, *entry.left_out)
            yield from (
                (entry.id_for(self.accounts[name]), name)
                for name in names
                if self.accounts[name].platform == "wechat"
            )

    @property
    def repeating_accounts(self) -> list[str]:
        return [name for name in self.accounts if name.startswith("weibo")][:2]

    def _repeating(self, shift: int) -> str:
        """A post that repeats, and never falls due while the campaign lasts."""
        hour = (self.repeats_at.astimezone(BEIJING).hour + shift) % 24
        body = f"每日提醒，第{self.repeating_edits + 1}版。"
        return self._repeating_table(
            REPEATING, "每日提醒", body, f'cron = "0 {hour} * * *"\n'
        )

    def _minutely(self) -> str:
        """A post that repeats each minute, for as long as an outage lasts."""
        first, last = self.minutes or (EPOCH, EPOCH)
        until = _instant(last + timedelta(seconds=30))
        times = f'cron = "* * * * *"\nfrom = {_instant(first)}\nuntil = {until}\n'
        return self._repeating_table(
            MINUTELY,
            MINUTELY_TITLE,
            MINUTELY_TITLE,
            f'{times}max_delay = "{MINUTELY_LATE}s"\n',
        )

    def _repeating_table(self, name: str, title: str, body: str, times: str) -> str:
        return (
            f'[[post]]\nid = "{name}"\nkind = "warning"\ntemplate = "warning"\n'
            f'author = "{AUTHOR}"\nlevel = "blue"\n'
            f'title = "{title}"\nbody = "{body}"\n'
            f"{times}to = {json.dumps(self.repeating_accounts)}\n"
            f'[post.data]\nsummary = "{body}"\n'
        )


def _replace(file: Path, text: str) -> None:
    part = file.with_name(f"{file.name}.part")
    part.write_text(text, "utf-8")
    part.replace(file)


def design(
    folders: Sequence[Path],
    deliveries: int,
    waves: int,
    dice: Random,
    *,
    is_rough: bool,
) -> CampaignWorkspace:
    """Spread so many deliveries over accounts, posts and waves."""
    regions = max(2, min(MOST_REGIONS, deliveries // PER_REGION))
    accounts = {account.id: account for account in _accounts(regions)}
    slots = deque(_slots(accounts, deliveries, dice))
    entries: list[WrittenPost] = []
    sizes = WIDE_SIZES if deliveries >= MANY else SIZES
    while slots:
        size = min(dice.randint(*sizes), len(slots))
        entries.append(
            WrittenPost(number=len(entries) + 1, accounts=_take(slots, size), wave=0)
        )
    for index, entry in enumerate(entries):
        entry.wave = index * waves // len(entries)
        entry.urgent = dice.random() < 0.1
        entry.pictured = dice.random() < (0.1 if deliveries >= MANY else 0.4)
        entry.tight = is_rough and dice.random() < (
            TIGHT_SHARE_OF_FEW if len(entries) < FEW_POSTS else TIGHT_SHARE
        )
        entry.prompt = is_rough and not entry.tight and dice.random() < PROMPT_SHARE
    _make_special(entries, waves, is_rough=is_rough)
    _make_families(entries, accounts)
    return CampaignWorkspace(
        folders=folders, accounts=accounts, entries=entries, is_large=deliveries >= MANY
    )


def _accounts(regions: int) -> list[CampaignAccount]:
    made = []
    for number in range(1, regions + 1):
        identities = {
            "weibo": str(1_400_000_000 + number),
            "wechat": f"wx{number:016x}",
            "tieba": f"tb.1.{number:08x}.drill",
        }
        made += [
            CampaignAccount(
                id=f"{platform}-{number:02d}",
                platform=platform,
                identity=identity,
                number=number,
            )
            for platform, identity in identities.items()
        ]
    return made


def _slots(
    accounts: dict[str, CampaignAccount], deliveries: int, dice: Random
) -> list[str]:
    """Return an account for each delivery.

    A platform's accounts take turns, so neighbours are different accounts.
    """
    tieba = round(deliveries * TIEBA_SHARE)
    wechat = round(
        deliveries * (WECHAT_SHARE_OF_MANY if deliveries >= MANY else WECHAT_SHARE)
    )
    wanted = dict(
        zip(PLATFORMS, (deliveries - tieba - wechat, wechat, tieba), strict=True)
    )
    platforms = [platform for platform, number in wanted.items() for _ in range(number)]
    dice.shuffle(platforms)
    names = {
        name: cycle([one.id for one in accounts.values() if one.platform == name])
        for name in PLATFORMS
    }
    return [next(names[platform]) for platform in platforms]


def _take(slots: deque[str], size: int) -> tuple[str, ...]:
    """Take slots of different accounts; a doubled one goes back to the end."""
    taken: list[str] = []
    for _ in range(len(slots)):
        if len(taken) == size:
            break
        name = slots.popleft()
        (slots if name in taken else taken).append(name)
    return tuple(taken)


def _make_special(entries: list[WrittenPost], waves: int, *, is_rough: bool) -> None:
    """Choose the special posts: one withdrawn, one that follows, and one that may not be late.

    One of the first wave is withdrawn. One of the last wave follows one of the first.
    """
    last = entries[-1]
    original, *others = sorted(
        (entry for entry in entries[:-1] if entry.wave == 0),
        key=lambda one: -len(one.accounts),
    )
    last.wave, last.follows = waves - 1, original.id
    last.accounts = original.accounts[: len(last.accounts)]
    others[-1].withdrawn = True
    for entry in (original, last, others[-1]):
        entry.tight = entry.prompt = False
    if is_rough:
        brief = next(
            entry
            for entry in reversed(entries[:-1])
            if not entry.withdrawn and entry is not original
        )
        brief.tight, brief.prompt = True, False


def _make_families(
    entries: Sequence[WrittenPost], accounts: Mapping[str, CampaignAccount]
) -> None:
    """Give one region of some posts words of its own, where no other action depends on them."""
    followed = {entry.follows for entry in entries}
    for entry in entries[::-FAMILY_EVERY]:
        regions = sorted({accounts[name].region for name in entry.accounts})
        is_plain = not (entry.follows or entry.withdrawn or entry.may_expire)
        if is_plain and entry.id not in followed and len(regions) > 1:
            entry.own_region = regions[0]


def _settings(
    accounts: Sequence[CampaignAccount],
    base_url: str,
    database: str | None,
    hotline: str,
    own: Mapping[str, str],
) -> str:
    shared = f"database = {json.dumps(database)}\n" if database else ""
    limits = {platform: LIMITS.format(platform=platform) for platform in PLATFORMS}
    parts = [
        shared + SETTINGS,
        *(limits | {HIDING: limits[HIDING] + REVIEW_WINDOW}).values(),
    ]
    regions = {account.region: account for account in accounts}
    parts += [
        REGION.format(account=account, hotline=hotline) for account in regions.values()
    ]
    for account in accounts:
        lines = {
            "id": account.id,
            "platform": account.platform,
            "identity": account.identity,
            "region": account.region,
            "secret": account.id,
            "base_url": base_url.replace("127.0.0.1", NAME)
            if account.platform == NAMED
            else base_url,
        }
        body = "".join(f"{key} = {json.dumps(value)}\n" for key, value in lines.items())
        parts.append(f"[[account]]\n{body}{own[account.platform]}")
    return "\n".join(parts)


def _table(entry: WrittenPost) -> str:
    kind = "update" if entry.follows else "warning"
    lines = {
        "id": entry.id,
        "kind": kind,
        "template": kind,
        "author": AUTHOR,
        "level": "orange",
        "title": entry.edited_title,
        "body": entry.body + "转账前请先拨打反诈专线核实。" * entry.edits,
        "to": [GROUP] if entry.names_group else list(entry.accounts),
        **({"urgent": True} if entry.urgent or entry.is_made_urgent else {}),
        **({"follows": entry.follows} if entry.follows else {}),
        "max_delay": f"{entry.most_late}s",
    }
    table = "".join(
        f"{key} = {json.dumps(value, ensure_ascii=False)}\n"
        for key, value in lines.items()
    )
    due = f"at = {_instant(entry.due)}\n" if entry.due else ""
    due += (
        f"expires = {_instant(entry.due + TIGHT_EXPIRES)}\n"
        if entry.due and entry.tight
        else ""
    )
    image = (
        f'images = [{{ file = "media/{entry.id}.png", alt = "退款诈骗的步骤" }}]\n'
        if entry.pictured
        else ""
    )
    own = (
        f'[post.region.{entry.own_region}]\ndata.summary = "{entry.own_summary}"\n'
        if entry.own_region
        else ""
    )
    data = f'[post.data]\nsummary = "{entry.summary}"\n'
    return f"[[post]]\n{table}{due}{image}{data}{own}"


def _instant(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%S}Z"
