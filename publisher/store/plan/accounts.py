"""The ids of accounts: identity on the platform, uniqueness, and renaming.

Sent posts are stored by account id. Under another id the same account would get everything again.
The open items under the old id would stay open.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import (
    Connection,
    Row,
    delete,
    func,
    insert,
    select,
    update,
)

from publisher.domain.account import AccountId
from publisher.domain.delivery import OPEN_STATES, Actor
from publisher.domain.errors import RefusedError
from publisher.domain.plan import PlannedDeliveries
from publisher.domain.post import ONCE_OCCURRENCE, Marker, OccurrenceKey, PostId
from publisher.store.approvals.guard import record_contents
from publisher.store.base import BaseStore, StorePart
from publisher.store.db.alert_tables import ALERT
from publisher.store.db.database import Transaction, in_transaction
from publisher.store.db.filters import in_open_state
from publisher.store.db.monitor_tables import (
    CREDENTIAL,
    FORMER_ID,
    KNOWN_ACCOUNT,
    MONITOR_SCHEDULE,
    OBSERVED_POST,
    PRESENCE,
    to_presence,
)
from publisher.store.db.rows import lock_planning, write_audit
from publisher.store.db.tables import (
    ATTEMPT,
    DELIVERY,
    MODE_OVERRIDE,
    ORPHANED_ATTEMPT,
    PAUSE,
    POST,
    RENDERED_POST,
    WORKER,
    dump_post,
    load_post,
)
from publisher.store.db.user_tables import AUTH_USER, dump_grants, to_user
from publisher.store.presences import claim_presence, has_posts, is_presence

STOPPED_FOR = timedelta(minutes=1)
"""How long a daemon that was killed must have been silent before accounts are renamed under it."""


_OWN_ROWS = (CREDENTIAL, KNOWN_ACCOUNT, MODE_OVERRIDE, MONITOR_SCHEDULE)
"""Tables with at most one row for each account."""


_SHARED_ROWS = (
    ATTEMPT,
    DELIVERY,
    OBSERVED_POST,
    ORPHANED_ATTEMPT,
    PRESENCE,
    RENDERED_POST,
)


class AccountStore(StorePart):
    """The accounts of the settings, as the database knows them. Every method is one transaction."""

    async def register(self) -> None:
        """Record each account's identity on its platform, if it is new.

        Raises RefusedError if the database knows the same account under another id.
        """
        if not await self.database.read(self.is_registered):
            await self._write_presences()

    def is_registered(self, connection: Connection) -> bool:
        found = {to_presence(row): row for row in connection.execute(select(PRESENCE))}
        wanted = {
            policy.presence: account for account, policy in self.store.policies.items()
        }
        return (
            all(
                one in found
                and (found[one].account, found[one].until) == (wanted[one], None)
                for one in wanted
            )
            and not _outdated(self.store, found.values())
            and not _reused_ids(self.store, connection)
        )

    @in_transaction
    def _write_presences(self, transaction: Transaction) -> None:
        connection, now = transaction.connection, self.runtime.now()
        rows = connection.execute(select(PRESENCE)).all()
        for row in _outdated(self.store, rows):
            is_this = is_presence(to_presence(row))
            connection.execute(update(PRESENCE).where(is_this).values(until=now))
        for account, policy in self.store.policies.items():
            presence = policy.presence
            if other := claim_presence(self.store, connection, account, presence, now):
                code = (
                    "account_ids_exchanged"
                    if other in self.store.policies
                    else "account_renamed"
                )
                raise RefusedError(
                    code, old=other, new=account, identity=presence.identity
                )
        for old, account in _reused_ids(self.store, connection).items():
            raise RefusedError("account_id_used", old=old, account=account)

    async def markers_under_former_ids(
        self, posts: Collection[PostId]
    ) -> Mapping[tuple[PostId, AccountId], Marker]:
        """Return the markers of one-off posts on renamed accounts.

        They may follow from a former id.
        """
        if not posts:
            return {}
        query = select(DELIVERY.c.post, DELIVERY.c.account, DELIVERY.c.marker).where(
            DELIVERY.c.post.in_(list(posts)),
            DELIVERY.c.occurrence == ONCE_OCCURRENCE,
            DELIVERY.c.account.in_(select(FORMER_ID.c.account)),
        )
        rows = await self.database.read_rows(query)
        return {
            (PostId(row.post), AccountId(row.account)): Marker(code=row.marker)
            for row in rows
        }

    @in_transaction
    def rename(
        self,
        transaction: Transaction,
        old: AccountId,
        new: AccountId,
        by: Actor,
        reason: str,
    ) -> int:
        """Give an account of the settings, `new`, everything stored under its former id.

        Return the number of posts. The ids in audit entries and in the journal stay. `former_id`
        explains them. An unsent text keeps its marker until it is edited, and needs its approvals
        again.

        Raises RefusedError if a daemon runs, if the two are not the same account, or if both have
        posts.
        """
        lock_planning(transaction)
        connection, now = transaction.connection, self.runtime.now()
        self._require_same_account(connection, old, new, now)
        keys = _open_occurrences(connection, old)
        number = (
            connection.scalar(select(func.count()).where(DELIVERY.c.account == old))
            or 0
        )
        for table in _OWN_ROWS:
            if (
                connection.execute(select(table).where(table.c.account == old)).first()
                is not None
            ):
                connection.execute(delete(table).where(table.c.account == new))
        # it is asked for again
        connection.execute(delete(CREDENTIAL).where(CREDENTIAL.c.account == old))
        connection.execute(delete(OBSERVED_POST).where(OBSERVED_POST.c.account == new))
        for table in (*_OWN_ROWS, *_SHARED_ROWS):
            connection.execute(
                update(table).where(table.c.account == old).values(account=new)
            )
        _rename_pause(connection, old, new)
        _rename_in_alerts(connection, old, new)
        _rename_in_posts(connection, old, new)
        _rename_in_grants(connection, old, new)
        _record_former_id(connection, old, new, now)
        if self.store.approval_rules.is_active:
            record_contents(self.store, transaction, keys, (), by)
        detail = {"old": old, "new": new, "posts": number, "reason": reason}
        write_audit(
            transaction,
            now,
            by,
            event="account_renamed",
            subject=f"account:{new}",
            detail=detail,
        )
        return number

    def _require_same_account(
        self, connection: Connection, old: AccountId, new: AccountId, now: datetime
    ) -> None:
        policies = self.store.policies
        if old in policies:
            raise RefusedError("rename_still_in_settings", old=old, new=new)
        alive = WORKER.c.stopped_at.is_(None) & (
            WORKER.c.heartbeat_at > now - STOPPED_FOR
        )
        if names := connection.scalars(
            select(WORKER.c.id).where(alive).order_by(WORKER.c.id)
        ).all():
            raise RefusedError("rename_while_running", workers=", ".join(names))
        is_old = PRESENCE.c.account == old
        known = {
            to_presence(row)
            for row in connection.execute(select(PRESENCE).where(is_old, _IS_PRESENT))
        }
        wanted = policies[new].presence
        reported = connection.scalar(
            select(CREDENTIAL.c.reported).where(CREDENTIAL.c.account == new)
        )
        if wanted not in known and (
            reported is None or replace(wanted, identity=reported) not in known
        ):
            raise RefusedError("rename_other_account", old=old, new=new)
        if has_posts(connection, new):
            raise RefusedError("rename_has_posts", old=old, new=new)


def lock_filing(
    store: BaseStore, transaction: Transaction, planned: Collection[PlannedDeliveries]
) -> None:
    """Serialize changes of the plan.

    Raises RefusedError if a new delivery's account has another id by now. A process started with
    older settings would file everything again. So would a process with a database server that has
    lost a renaming.
    """
    lock_planning(transaction)
    connection = transaction.connection
    accounts = {one for item in planned if item.is_new for one in item.accounts}
    if not accounts:
        return
    owners = {
        to_presence(row): AccountId(row.account)
        for row in connection.execute(select(PRESENCE))
    }
    for account in sorted(accounts & store.policies.keys()):
        presence = store.policies[account].presence
        owner = owners.get(presence, account)
        if owner != account and has_posts(connection, owner):
            raise RefusedError(
                "account_renamed", old=owner, new=account, identity=presence.identity
            )


_IS_PRESENT = PRESENCE.c.until.is_(None)


def _outdated(
    store: BaseStore, rows: Collection[Row[tuple[object, ...]]]
) -> list[Row[tuple[object, ...]]]:
    """Return the rows of accounts with settings that name another identity or place by now."""
    present = {account: policy.presence for account, policy in store.policies.items()}
    return [
        row
        for row in rows
        if row.until is None
        and row.account in present
        and present[AccountId(row.account)]
        != replace(to_presence(row), identity=row.spelled_as)
    ]


def _reused_ids(
    store: BaseStore, connection: Connection
) -> Mapping[AccountId, AccountId]:
    """Return the ids of the settings that another account had before, with its present id.

    The other account was renamed.
    """
    rows = connection.execute(
        select(FORMER_ID).where(FORMER_ID.c.id.in_(list(store.policies)))
    )
    return {AccountId(row.id): AccountId(row.account) for row in rows}


def _open_occurrences(
    connection: Connection, account: AccountId
) -> list[OccurrenceKey]:
    query = select(DELIVERY.c.post, DELIVERY.c.occurrence).where(
        DELIVERY.c.account == account, in_open_state(DELIVERY, *OPEN_STATES)
    )
    return [
        OccurrenceKey(post=PostId(row.post), occurrence=row.occurrence)
        for row in connection.execute(query.distinct())
    ]


def _rename_pause(connection: Connection, old: AccountId, new: AccountId) -> None:
    """Let a pause of the account hold under its new id."""
    if (
        connection.execute(
            select(PAUSE).where(PAUSE.c.scope == f"account:{old}")
        ).first()
        is not None
    ):
        connection.execute(delete(PAUSE).where(PAUSE.c.scope == f"account:{new}"))
        connection.execute(
            update(PAUSE)
            .where(PAUSE.c.scope == f"account:{old}")
            .values(scope=f"account:{new}")
        )


def _rename_in_alerts(connection: Connection, old: AccountId, new: AccountId) -> None:
    """Let open alerts be about the new id, so that they end when their cause does."""
    for row in connection.execute(
        select(ALERT).where(ALERT.c.cleared_at.is_(None))
    ).all():
        facts = json.loads(row.facts)
        renamed = {**facts, "account": new} if facts.get("account") == old else facts
        head, sign, name = row.subject.rpartition("@")
        prefix = f"account:{old}"
        if sign and name == old:
            subject = f"{head}@{new}"
        elif row.subject == prefix or row.subject.startswith(f"{prefix}/"):
            subject = f"account:{new}{row.subject.removeprefix(prefix)}"
        elif row.subject.startswith("job:") and row.subject.endswith(f":{old}"):
            subject = f"{row.subject.removesuffix(old)}{new}"
        else:
            subject = row.subject
        if (subject, renamed) != (row.subject, facts):
            values = {
                "subject": subject,
                "facts": json.dumps(renamed, ensure_ascii=False),
            }
            connection.execute(update(ALERT).where(ALERT.c.id == row.id).values(values))


def _rename_in_posts(connection: Connection, old: AccountId, new: AccountId) -> None:
    """Let stored posts name the new id among their accounts."""
    named = POST.c.body.contains(json.dumps(old, ensure_ascii=False), autoescape=True)
    for row in connection.execute(select(POST.c.id, POST.c.body).where(named)).all():
        post = load_post(row.body)
        accounts = tuple(
            new if account == old else account for account in post.accounts
        )
        body = dump_post(replace(post, accounts=accounts))
        connection.execute(update(POST).where(POST.c.id == row.id).values(body=body))


def _rename_in_grants(connection: Connection, old: AccountId, new: AccountId) -> None:
    """Let people keep the roles that they have on this account by its id."""
    for user in map(to_user, connection.execute(select(AUTH_USER)).mappings().all()):
        if any(old in grant.targets for grant in user.grants):
            grants = [
                replace(grant, targets=grant.targets - {old} | {new})
                if old in grant.targets
                else grant
                for grant in user.grants
            ]
            is_user = AUTH_USER.c.name == user.name
            connection.execute(
                update(AUTH_USER).where(is_user).values(grants=dump_grants(grants))
            )


def _record_former_id(
    connection: Connection, old: AccountId, new: AccountId, now: datetime
) -> None:
    connection.execute(
        delete(FORMER_ID).where(FORMER_ID.c.id == new)
    )  # it has its old id back
    connection.execute(
        update(FORMER_ID).where(FORMER_ID.c.account == old).values(account=new)
    )
    connection.execute(insert(FORMER_ID).values(id=old, account=new, at=now))
