"""The whole, with the books open and, where it may send, live adapters."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial

from adapters._http import LoginHttp, host_of, warm_up
from adapters.assisted import assist
from publisher.contract import Adapter, AdapterFactory, AdapterKit, Addressed
from publisher.domain.account import Account, AccountId, LoginId, Mode
from publisher.domain.errors import SettingsError
from publisher.domain.rendition import Parcel
from publisher.planning import Planner
from publisher.schedule import desk_for
from publisher.settings import Environment, Settings
from publisher.store.alarms import Alarms
from publisher.store.audit import Audit
from publisher.store.board import Board
from publisher.store.books import Books
from publisher.store.checkups import Checkups
from publisher.store.modes import Modes
from publisher.store.notes import LoginNotes, LoginTokens
from publisher.store.orders import Orders
from publisher.store.outbox import Outbox
from publisher.store.registry import Registry
from publisher.store.rounds import Rounds
from publisher.store.watches import Watches
from publisher.telemetry import log
from publisher.vault import SecretError, Vault, read_secret
from publisher.wiring.books import Use, open_with
from publisher.wiring.studio import Studio, build_studio
from publisher.wiring.terms import factories, hasty_waits
from publisher.world import World

_PASSING = frozenset({"secret_unreadable", "vault_unreadable"})
FRESH = timedelta(milliseconds=500)
"""For so long after its intent a call may start unasked: no stop takes effect sooner."""
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """The whole. Its `adapters` reach a platform only where it was opened to send or to ask."""

    settings: Settings
    world: World
    outbox: Outbox
    rounds: Rounds
    registry: Registry
    orders: Orders
    alarms: Alarms
    board: Board
    audit: Audit
    modes: Modes
    watches: Watches
    checkups: Checkups
    planner: Planner
    adapters: Mapping[AccountId, Adapter]


@contextlib.asynccontextmanager
async def open_application(
    settings: Settings, world: World, *, sends: bool, asks: bool = False
) -> AsyncIterator[Application]:
    """Open the books and build the whole; what only asks the platforms announces no call, so any journal will do.

    Raises SettingsError, or RefusedError where the database must not be used.
    """
    studio = await asyncio.to_thread(build_studio, settings)
    use = Use.SEND if sends else Use.LOOK if asks else Use.ORDER
    async with open_with(settings, world, studio.terms, use) as books:
        with contextlib.closing(studio.press.templates.renderer):  # while a thread waits for it, no process can end
            application = _assemble(studio, books)
            if sends or asks:
                if hasty := hasty_waits(studio.terms.values(), settings.environment):
                    raise SettingsError(hasty)
                await warm_up()
                application = replace(application, adapters=_live_adapters(studio, books))
            await application.registry.enrol()
            yield application


def _assemble(studio: Studio, books: Books) -> Application:
    settings, registry = studio.settings, Registry(books)
    desk = desk_for(settings, templates=studio.press.templates.names)
    return Application(
        settings=settings,
        world=books.world,
        outbox=Outbox(books),
        rounds=Rounds(books),
        registry=registry,
        orders=Orders(books),
        alarms=Alarms(books),
        board=Board(books),
        audit=Audit(books),
        modes=Modes(books),
        watches=Watches(books),
        checkups=Checkups(books),
        planner=Planner(registry=registry, press=studio.press, desk=desk, plan_days=settings.plan_days),
        adapters=studio.press.adapters,
    )


def _live_adapters(studio: Studio, books: Books) -> Mapping[AccountId, Adapter]:
    known = factories(frozenset(terms.account.platform for terms in studio.terms.values()))
    kits: dict[LoginId, AdapterKit] = {}
    adapters: dict[AccountId, Adapter] = {}
    for key, terms in studio.terms.items():
        account = terms.account
        if account.login not in kits:
            sharing = [item.account for item in studio.terms.values() if item.account.login == account.login]
            http = LoginHttp(
                deadline=terms.patience.request_timeout,
                monotonic=books.world.monotonic,
                failpoint=books.world.die_here,
                allow=allowed_hosts(sharing, studio.settings, known[account.platform]),
                may_go=partial(_may_go, Outbox(books)),
                begin=partial(_begin, books),
                is_clock_confirmed=books.world.is_clock_confirmed,
                hear_date=books.world.hear_date,
                now=books.world.now,
                usual_rest=terms.patience.first_check_after,
            )
            kits[account.login] = _kit(account, studio.settings, books, http)
        own = known[account.platform].create(account, kits[account.login])
        adapters[key] = assist(own, books.world.now)
    return adapters


def _kit(account: Account, settings: Settings, books: Books, http: LoginHttp) -> AdapterKit:
    return AdapterKit(
        http=http,
        secret=partial(_secret, account, settings, {}),
        tokens=LoginTokens(now=books.world.now),
        notes=LoginNotes(database=books.database, login=account.login),
        now=books.world.now,
        failpoint=books.world.failpoint,
    )


def _secret(account: Account, settings: Settings, known: dict[str, str]) -> Mapping[str, str]:
    """Give a login's credentials; without them the adapter says that it cannot sign in.

    What cannot be opened for a moment is still what it was: `known` is what was read last.
    """
    try:
        found = read_secret(account.secret, secrets_dir=settings.secrets_dir, vault=vault_of(settings))
    except SecretError as error:
        log.error("secret_unreadable", account=account.id, code=error.code)
        return dict(known) if error.code in _PASSING else {}
    known.clear()
    known.update(found)
    return found


def _begin(books: Books, parcel: Parcel) -> None:
    """Write down that a call begins. Raises OSError; then it may not."""
    books.calls.begin(parcel.delivery, parcel.epoch)


async def _may_go(outbox: Outbox, parcel: Parcel) -> bool:
    """Ask once more whether a call may begin whose intent is so old that people may have stopped it.

    A clock that was set back meanwhile cannot tell how long that was.
    """
    took = outbox.books.world.now() - parcel.intended_at
    return timedelta(0) <= took < FRESH or await outbox.may_go_on(parcel)


def allowed_hosts(accounts: Collection[Account], settings: Settings, factory: AdapterFactory) -> Callable[[str], bool]:
    """Say which hosts the accounts of one login may reach.

    A drill reaches nothing but this machine; an account with an address of its own, nothing but that; any other, what
    its adapter names, and every host where that names none.
    """
    if settings.environment is Environment.DRILL:
        return LOOPBACK.__contains__
    hosts: set[str] = set()
    for account in accounts:
        if account.base_url is not None:
            hosts.add(host_of(account.base_url))
        elif isinstance(factory, Addressed):
            hosts.update(map(host_of, factory.addresses(account)))
        else:
            return bool
    return (hosts - {""}).__contains__


def vault_of(settings: Settings) -> Vault:
    """Give the workspace's encrypted store."""
    return Vault(folder=settings.workspace / "var")


def unreadable_secrets(settings: Settings, by_hand: Collection[AccountId] = ()) -> Mapping[AccountId, SecretError]:
    """Name the accounts that cannot sign in because their secret is not to be had, where they must.

    An account that people post on needs none, whether the settings say so or it is named in `by_hand`.
    """
    missing: dict[AccountId, SecretError] = {}
    for key, account in settings.accounts.items():
        if account.mode is not Mode.API or key in by_hand:
            continue
        try:
            read_secret(account.secret, secrets_dir=settings.secrets_dir, vault=vault_of(settings))
        except SecretError as error:
            missing[key] = error
    return missing
