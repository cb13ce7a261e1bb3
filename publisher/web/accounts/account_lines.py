"""The state of each account as pages show it: what is wrong with it, or that it is fine."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from publisher.app.format import credential_days_left
from publisher.domain.account import Account, AccountId, Mode
from publisher.domain.alert_classes import Urgency, classify
from publisher.domain.delivery import Role
from publisher.domain.results import Blocked, CredentialExpired, ReadFailure
from publisher.domain.silence import SilenceClock, SilenceLevel
from publisher.domain.user import Permission
from publisher.store.monitor.login_health import AccountHealth
from publisher.store.monitor.sign_in_links import SIGN_IN_WANTED
from publisher.store.queries.occurrences import (
    ForeignPost,
    OpenCounts,
)
from publisher.store.queries.queries import Alert, ModeOverride, Pause
from publisher.web.kit.frame import Moment
from publisher.web.kit.live_parts import item_id
from publisher.web.kit.site import Visitor

MAX_DAYS_SHOWN = 14
"""Days of an authorisation are shown once there are no more than these."""
FOREIGN_POST_AGE = timedelta(days=1)
"""For how long a post of others on an exclusive account needs somebody's look."""
RECENT = timedelta(days=30)


class AccountStatus(StrEnum):
    """How an account is, the worst first."""

    ACTION = "action"
    WARN = "warn"
    HAND = "hand"
    OFF = "off"
    FINE = "fine"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountLine:
    """An account as the board shows it. `word` names the fault in short, `text` the remedy."""

    account: Account
    status: AccountStatus
    word: str
    text: str
    mode: Mode
    health: str
    handed_over: int
    """How many of its deliveries wait for a person's decision: none of them goes by itself."""
    is_unchecked: bool
    """True if publisher has paused it, and has not checked its login since."""
    days_left: int | None
    quota_left: int
    is_refused: bool
    """True if the platform refuses its login, or has blocked the account."""
    clock: SilenceClock | None
    counts: OpenCounts
    needing_person: int
    """The number of deliveries on it that need a person."""
    login: AccountHealth
    override: ModeOverride | None
    pause: Pause | None
    alerts: Sequence[Alert]
    foreign: Sequence[ForeignPost]
    recent: Sequence[ForeignPost]
    """Those of a longer time, on the page of one account."""

    @property
    def card(self) -> str:
        """The id of its card on the page, by its name in the audit."""
        return item_id("card", f"account:{self.account.id}")

    @property
    def row(self) -> str:
        """The id of its row in the list."""
        return item_id("cell", self.account.id)

    @property
    def silence(self) -> SilenceLevel:
        return self.clock.level if self.clock else SilenceLevel.NONE


async def read_lines(
    visitor: Visitor, moment: Moment, account: AccountId | None = None
) -> Sequence[AccountLine]:
    """Return the visitor's accounts in settings order, in a fixed number of statements.

    With an account, return its line alone, with all recent posts of others on it.
    """
    store, reach = visitor.site.store, visitor.reach(Permission.VIEW)
    found = await store.login_health.list_accounts()
    counts, alerts = await store.occurrences.open_counts(), await store.queries.alerts()
    foreign: dict[AccountId, list[ForeignPost]] = {}
    since = visitor.site.runtime.now() - (
        FOREIGN_POST_AGE if account is None else RECENT
    )
    for post in await store.occurrences.foreign_posts(since, account):
        foreign.setdefault(post.account, []).append(post)
    grouped, waiting = group_alerts(alerts), moment.waiting.by_account
    handed_over = Counter(one.account for one in moment.waiting.to_decide)
    return [
        describe_account(
            visitor,
            item,
            counts.get(item.account.id, OpenCounts()),
            waiting.get(item.account.id, 0),
            handed_over[item.account.id],
            find_pause(item.account, moment.facts.pauses),
            grouped.get(item.account.id, ()),
            foreign.get(item.account.id, ()),
        )
        for item in found
        if (reach is None or item.account.id in reach)
        and account in {None, item.account.id}
    ]


def find_pause(account: Account, pauses: Sequence[Pause]) -> Pause | None:
    scopes = {f"account:{account.id}", f"platform:{account.platform}"}
    return next((pause for pause in pauses if pause.scope in scopes), None)


def group_alerts(alerts: Sequence[Alert]) -> Mapping[AccountId, Sequence[Alert]]:
    """Return the alerts about accounts themselves, not about deliveries on them.

    The page has the steps of a renewal by themselves.
    """
    grouped: dict[AccountId, list[Alert]] = {}
    for alert in alerts:
        account = alert.facts.get("account")
        if account and "post" not in alert.facts and alert.code != SIGN_IN_WANTED:
            grouped.setdefault(AccountId(account), []).append(alert)
    return grouped


def describe_account(  # noqa: PLR0913, PLR0917 # all that is known of an account
    visitor: Visitor,
    health: AccountHealth,
    counts: OpenCounts,
    needing_person: int,
    handed_over: int,
    pause: Pause | None,
    alerts: Sequence[Alert],
    foreign: Sequence[ForeignPost],
) -> AccountLine:
    """Return one account with the worst that is known of it in words."""
    formatter, now = visitor.formatter, visitor.site.runtime.now()
    clock = health.read_clock(now, visitor.site.settings.timezone)
    days_left = credential_days_left(health.health, now)
    fresh = [post for post in foreign if post.published_at >= now - FOREIGN_POST_AGE]
    own = fresh if health.account.is_exclusive else []
    is_unchecked = paused_since_probe(health, pause)
    if is_unchecked:
        days_left = None
    status, word, text = next(
        _judge(visitor, health, clock, pause, own, days_left, alerts)
    )
    if not text and alerts and status in {AccountStatus.ACTION, AccountStatus.WARN}:
        text = formatter.alert(alerts[0])
    return AccountLine(
        account=health.account,
        status=status,
        word=word,
        text=text,
        mode=health.mode,
        health=visitor.messages.translate("pages_health_before_pause")
        if is_unchecked
        else formatter.health(health.health),
        handed_over=handed_over,
        is_unchecked=is_unchecked,
        days_left=days_left,
        quota_left=health.quota_left,
        is_refused=is_refused(health),
        clock=clock,
        counts=counts,
        needing_person=needing_person,
        override=health.override,
        login=health,
        pause=pause,
        alerts=alerts,
        foreign=fresh,
        recent=foreign,
    )


def paused_since_probe(health: AccountHealth, pause: Pause | None) -> bool:
    """Return True if publisher has paused an account after the last check of its login."""
    if pause is None or pause.by not in frozenset(Role):
        return False
    return health.probed_at is not None and health.probed_at < pause.at


def is_refused(health: AccountHealth) -> bool:
    return health.mode is Mode.API and isinstance(
        health.health, CredentialExpired | Blocked
    )


def _judge(  # noqa: PLR0913, PLR0917 # all that may be wrong
    visitor: Visitor,
    health: AccountHealth,
    clock: SilenceClock | None,
    pause: Pause | None,
    foreign: Sequence[ForeignPost],
    days_left: int | None,
    alerts: Sequence[Alert],
) -> Iterator[tuple[AccountStatus, str, str]]:
    """Yield the findings about an account, the worst first; the last one is that it is fine."""
    t, formatter = visitor.messages.translate, visitor.formatter
    by_urgency = {
        classify(alert.code).urgency: alert
        for alert in reversed(alerts)
        if alert.code != "unauthorized_post"  # the page shows the post itself
    }
    if health.mode is Mode.OFF:
        yield AccountStatus.OFF, t("mode_off"), ""
    if pause is not None:
        yield (
            AccountStatus.ACTION,
            t("pages_account_paused"),
            formatter.pause("pages_paused", pause),
        )
    if is_refused(health):
        code = (
            "pages_account_refused"
            if isinstance(health.health, CredentialExpired)
            else "pages_account_blocked"
        )
        yield AccountStatus.ACTION, t(code), formatter.health(health.health)
    if urgent := by_urgency.get(Urgency.URGENT):
        yield AccountStatus.ACTION, t("pages_account_alert"), formatter.alert(urgent)
    if foreign:
        says = t(
            "pages_account_foreign_says", at=formatter.time(foreign[0].published_at)
        )
        yield AccountStatus.WARN, t("pages_account_foreign"), says
    yield from _judge_ahead(visitor, health, clock, days_left)
    if important := by_urgency.get(Urgency.IMPORTANT):
        yield AccountStatus.WARN, t("pages_account_alert"), formatter.alert(important)
    if health.mode is Mode.API and isinstance(health.health, ReadFailure):
        says = formatter.health(health.health)
        yield AccountStatus.WARN, t("pages_account_unread"), says
    if health.mode is Mode.API and health.is_being_checked:
        says = t("pages_account_checking_says")
        yield AccountStatus.WARN, t("pages_account_checking"), says
    if health.mode is Mode.ASSISTED:
        yield AccountStatus.HAND, t("pages_account_by_hand"), ""
    yield AccountStatus.FINE, "", ""


def _judge_ahead(
    visitor: Visitor,
    health: AccountHealth,
    clock: SilenceClock | None,
    days_left: int | None,
) -> Iterator[tuple[AccountStatus, str, str]]:
    """Yield the findings about what an account is near to: no authorisation, or silence."""
    t = visitor.messages.translate
    if (
        days_left is not None
        and days_left <= MAX_DAYS_SHOWN // 2
        and health.mode is Mode.API
    ):
        yield (
            AccountStatus.WARN,
            t("pages_account_days", days=days_left),
            t("pages_account_days_says"),
        )
    if clock is not None and clock.level in {SilenceLevel.RED, SilenceLevel.ALARM}:
        yield (
            AccountStatus.WARN,
            t("pages_account_silent", days=clock.days),
            t("pages_account_silent_says"),
        )
