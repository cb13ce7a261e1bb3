"""Since when each account has been silent, and the alerts before an inspection would report it."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from datetime import date, datetime, tzinfo
from functools import partial

from sqlalchemy import Connection, insert, select

from publisher.domain.account import AccountId, Mode
from publisher.domain.delivery import State
from publisher.domain.silence import (
    AccountActivity,
    SilenceClock,
    SilenceFigures,
    SilenceLevel,
    measure_silence,
    read_silence_clock,
)
from publisher.store.base import StorePart
from publisher.store.db.database import Transaction, in_transaction, try_lock
from publisher.store.db.filters import in_state
from publisher.store.db.monitor_tables import KNOWN_ACCOUNT
from publisher.store.db.rows import (
    AlertContent,
    find_alert_changes,
)
from publisher.store.db.tables import DELIVERY
from publisher.store.modes import active_modes

ALERT_OF_LEVEL: Mapping[SilenceLevel, str] = {
    SilenceLevel.NOTICE: "silence_notice",
    SilenceLevel.ALARM: "silence_alarm",
    SilenceLevel.RED: "silence_red",
}
SUBJECT_PREFIX = "silence:"
SILENCE_LOCK = "silence"
_LAST_POST = (
    select(DELIVERY.c.published_at)
    .where(
        DELIVERY.c.account == KNOWN_ACCOUNT.c.account,
        DELIVERY.c.published_at.is_not(None),
        DELIVERY.c.verified_at.is_not(None),
        in_state(DELIVERY, State.PUBLISHED),
    )
    .order_by(DELIVERY.c.published_at.desc())
    .limit(1)
    .scalar_subquery()
)
"""The newest publication of an account.

The index by account and time is read from its end to the first match. The past makes it no slower.
"""
_ACTIVITIES = select(KNOWN_ACCOUNT, _LAST_POST.label("last_post_at"))


class SilenceStore(StorePart):
    """The silence of the accounts with a mode that is not off."""

    async def clocks(self, timezone: tzinfo) -> Mapping[AccountId, SilenceClock]:
        """Return the clock of each account that has one, in the order of the settings.

        Such an account is known, and not off.
        """
        return await self.database.read(self._clocks, timezone)

    async def figures(
        self, first: date, last: date, timezone: tzinfo
    ) -> Mapping[AccountId, SilenceFigures]:
        """Return the silence from `first` to `last`, or to today, of the accounts with a clock.

        The accounts were known then. They are in the order of the settings. Posts that are gone by
        now count as never published.
        """
        last = min(last, self.runtime.now().astimezone(timezone).date())

        def read(connection: Connection) -> dict[AccountId, SilenceFigures]:
            clocks, activities = (
                self._clocks(connection, timezone),
                read_activities(connection),
            )
            is_verified = (
                DELIVERY.c.verified_at.is_not(None),
                in_state(DELIVERY, State.PUBLISHED),
            )
            posts: dict[str, list[datetime]] = defaultdict(list)
            for row in connection.execute(
                select(DELIVERY.c.account, DELIVERY.c.published_at).where(*is_verified)
            ):
                posts[row.account].append(row.published_at)
            found = {}
            for account, clock in clocks.items():
                known_since = min([activities[account].known_since, *posts[account]])
                if known_since.astimezone(timezone).date() <= last:
                    figures = measure_silence(
                        known_since, posts[account], first, last, timezone
                    )
                    found[account] = replace(figures, days_now=clock.days)
            return found

        return await self.database.read(read)

    def _clocks(
        self, connection: Connection, timezone: tzinfo
    ) -> Mapping[AccountId, SilenceClock]:
        now, activities = self.runtime.now(), read_activities(connection)
        return {
            account: read_silence_clock(activities[account], now, timezone)
            for account, mode in active_modes(self.store, connection).items()
            if account in activities and mode is not Mode.OFF
        }

    async def update(self, timezone: tzinfo) -> int:
        """Note new accounts, and keep one alert for each near the limit. Return the number changed.

        The number is of alerts. An alert is replaced by the next as the days pass, and ends once a
        post is verified. Nothing happens while the clock is not confirmed.
        """
        if self.runtime.now_if_confirmed() is None:
            return 0
        if await self.database.read(self._unknown_accounts):
            await self.note_accounts()
        return await self.update_alerts(
            partial(self.find_changes, timezone=timezone), SILENCE_LOCK
        )

    def _unknown_accounts(self, connection: Connection) -> list[AccountId]:
        return sorted(
            set(self.store.policies)
            - set(connection.scalars(select(KNOWN_ACCOUNT.c.account)))
        )

    @in_transaction
    def note_accounts(self, transaction: Transaction) -> None:
        if try_lock(transaction, SILENCE_LOCK):
            now, new = (
                self.runtime.now(),
                self._unknown_accounts(transaction.connection),
            )
            rows = [{"account": account, "since": now} for account in new]
            if rows:
                transaction.connection.execute(insert(KNOWN_ACCOUNT), rows)

    def find_changes(
        self, connection: Connection, timezone: tzinfo
    ) -> Mapping[str, AlertContent | None]:
        wanted: dict[str, AlertContent] = {}
        for account, clock in self._clocks(connection, timezone).items():
            if code := ALERT_OF_LEVEL.get(clock.level):
                facts = {
                    "account": account,
                    "since": clock.since.isoformat(),
                    "red_on": clock.red_on.isoformat(),
                }
                wanted[f"{SUBJECT_PREFIX}{account}"] = (code, facts)
        return find_alert_changes(connection, ALERT_OF_LEVEL.values(), wanted)


def read_activities(connection: Connection) -> Mapping[AccountId, AccountActivity]:
    """Return the activity of each account that the database knows."""
    return {
        AccountId(row.account): AccountActivity(
            known_since=row.since, last_post_at=row.last_post_at
        )
        for row in connection.execute(_ACTIVITIES)
    }
