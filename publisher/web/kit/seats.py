"""Places of accounts on pages: their names, their order, and a post's seat map by platform."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

from publisher.config import Settings
from publisher.domain.account import AccountId, Platform
from publisher.domain.glyph import Glyph
from publisher.i18n import Messages

SEATS_PER_ROW = 10
SEAT_PITCH = 13
"""From the middle of one seat to that of the next, in pixels."""
MAX_NAMED_SEATS = 12
"""So many accounts of a platform are named one by one; more become a map."""
MAX_NAMED_EXCEPTIONS = 3
EMPTY_SEAT = "empty"
DRAWN_SIGNS = frozenset({Glyph.ACTION, Glyph.FAILED, Glyph.ENDED})
"""The signs that are more than a dot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountNames:
    """The accounts' names on pages, by region and platform.

    An unknown account is called by its id.
    """

    short: Mapping[AccountId, str]
    full: Mapping[AccountId, str]
    seats: Mapping[AccountId, int]
    positions: Mapping[AccountId, int]
    """Where each account stands in the settings."""
    places: Sequence[str]
    """The names of the seats of a map, in their order."""
    platforms: Sequence[Platform]
    """In the order of the settings."""
    platform_of: Mapping[AccountId, Platform]

    def name(self, account: str) -> str:
        return self.full.get(AccountId(account), account)

    def region(self, account: AccountId) -> str:
        """Return the name within its platform."""
        return self.short.get(account, account)

    def name_places(self, accounts: Collection[AccountId] | None) -> Sequence[str]:
        """Return the seats' names in order, empty for seats with none of these accounts.

        None as `accounts` means all.
        """
        if accounts is None:
            return self.places
        seen = {self.seats[account] for account in accounts if account in self.seats}
        return [
            name if number in seen else "" for number, name in enumerate(self.places)
        ]

    def list_regions(self, accounts: Iterable[AccountId]) -> Sequence[str]:
        """Return the regions of accounts in order, each once; an unknown account by its id."""
        found = sorted(
            {self.order(account)[0]: account for account in accounts}.items()
        )
        return [
            self.places[seat] if seat < len(self.places) else account
            for seat, account in found
        ]

    def group(
        self, accounts: Iterable[AccountId]
    ) -> Sequence[tuple[Platform, Sequence[AccountId]]]:
        """Return accounts in order, by platform; unknown ones are left out."""
        known = [account for account in accounts if account in self.platform_of]
        groups: dict[Platform, list[AccountId]] = {}
        for account in sorted(known, key=self.order):
            groups.setdefault(self.platform_of[account], []).append(account)
        return sorted(groups.items(), key=lambda item: self.platform_order(item[0]))

    def platform_order(self, platform: Platform) -> tuple[int, str]:
        """Return the sort key: the platforms in the order of the settings."""
        known = platform in self.platforms
        return self.platforms.index(platform) if known else len(
            self.platforms
        ), platform

    def order(self, account: AccountId) -> tuple[int, int, str]:
        """Return the sort key: the regions in settings order, and in each the accounts."""
        return (
            self.seats.get(account, len(self.seats)),
            self.positions.get(account, len(self.positions)),
            account,
        )


def name_accounts(settings: Settings, messages: Messages) -> AccountNames:
    """Return the names of all accounts.

    If a region has several accounts on a platform, they carry their own names too.
    """
    seats = {region: number for number, region in enumerate(settings.regions)}
    crowded = Counter(
        (account.platform, account.region) for account in settings.accounts.values()
    )
    short: dict[AccountId, str] = {}
    numbers: dict[AccountId, int] = {}
    for key, account in settings.accounts.items():
        region = (
            settings.regions.get(account.region or "", {}).get("name")
            or account.region
            or key
        )
        is_alone = (
            account.region is not None
            and crowded[account.platform, account.region] == 1
        )
        short[key] = (
            region
            if is_alone or region == key
            else f"{region} {account.forum or account.identity}"
        )
        numbers[key] = seats.setdefault(account.region or key, len(seats))
    platforms = list(
        dict.fromkeys(account.platform for account in settings.accounts.values())
    )
    names = {platform: messages.platform_short_name(platform) for platform in platforms}
    shown = {key: names[account.platform] for key, account in settings.accounts.items()}
    full = {key: f"{name} · {shown[key]}" for key, name in short.items()}
    places = [settings.regions.get(key, {}).get("name") or key for key in seats]
    positions = {key: number for number, key in enumerate(settings.accounts)}
    return AccountNames(
        short=short,
        full=full,
        seats=numbers,
        positions=positions,
        places=places,
        platforms=platforms,
        platform_of={
            key: account.platform for key, account in settings.accounts.items()
        },
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedSeat:
    account: AccountId
    name: str
    glyph: Glyph


@dataclass(frozen=True, slots=True, kw_only=True)
class SeatMap:
    """The accounts of a post on one platform.

    `paths` has all seats of one sign as one path. Neighbours with a sign that is a dot form one
    dashed line.
    """

    platform: Platform
    total: int
    done: int
    by_glyph: Mapping[Glyph, int]
    exceptions: Mapping[Glyph, Sequence[str]]
    """The names of the few accounts with a sign that needs attention."""
    named: Sequence[NamedSeat]
    """All accounts, where they are few enough to be named."""
    width: int = 0
    height: int = 0
    paths: Mapping[str, str]


def map_seats(
    platform: Platform, glyphs: Mapping[AccountId, Glyph], names: AccountNames
) -> SeatMap:
    """Return the seat map of a post on one platform.

    A region has the same seat on every map.
    """
    ordered = sorted(glyphs, key=names.order)
    by_seat: dict[int, Glyph] = {}
    for account in ordered:
        seat, glyph = names.order(account)[0], glyphs[account]
        if seat not in by_seat or glyph.rank < by_seat[seat].rank:
            by_seat[seat] = glyph
    seat_count = max([*names.seats.values(), *by_seat], default=0) + 1
    marks = [
        by_seat[seat].value if seat in by_seat else EMPTY_SEAT
        for seat in range(seat_count)
    ]
    lines: dict[str, list[str]] = {}
    for first in range(0, seat_count, SEATS_PER_ROW):
        y = SEAT_PITCH * (first // SEATS_PER_ROW) + 7
        for mark, run in groupby(
            enumerate(marks[first : first + SEATS_PER_ROW]), itemgetter(1)
        ):
            columns = [column for column, _mark in run]
            starts, length = (
                (columns, 0)
                if mark in DRAWN_SIGNS
                else (columns[:1], SEAT_PITCH * (len(columns) - 1) + 1)
            )
            lines.setdefault(mark, []).extend(
                f"M{SEAT_PITCH * column + 7} {y}h{length}" for column in starts
            )
    counts = Counter(glyphs.values())
    few = (
        glyph
        for glyph in (Glyph.ACTION, Glyph.FAILED)
        if 0 < counts[glyph] <= MAX_NAMED_EXCEPTIONS
    )
    return SeatMap(
        platform=platform,
        total=len(glyphs),
        done=counts[Glyph.PUBLISHED],
        by_glyph={glyph: counts[glyph] for glyph in Glyph if counts[glyph]},
        exceptions={
            glyph: [names.region(key) for key in ordered if glyphs[key] is glyph]
            for glyph in few
        },
        named=[
            NamedSeat(account=key, name=names.region(key), glyph=glyphs[key])
            for key in ordered
        ]
        if len(glyphs) <= MAX_NAMED_SEATS
        else (),
        width=SEAT_PITCH * min(seat_count, SEATS_PER_ROW) + 1,
        height=SEAT_PITCH * (-(-seat_count // SEATS_PER_ROW)) + 1,
        paths={mark: "".join(found) for mark, found in lines.items()},
    )
