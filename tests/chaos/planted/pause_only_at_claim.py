"""A pause keeps deliveries from being claimed; what is claimed already is let go.

Breaks I14 (F94): claims are taken two seconds before their instant, so a call may start up to two seconds after the
pause, or later where the process was frozen after the claim, with an intent committed while the pause stands.
"""

from sqlalchemy import and_, bindparam, select

from publisher.domain.delivery import State
from publisher.domain.rendition import Parcel
from publisher.store import intents
from publisher.store.conditions import is_off, ordered_mode, original_is_live, stands
from publisher.store.outbox import Outbox
from publisher.store.parcels import newest_id
from publisher.store.rows import DELIVERY, LOGIN, RENDITION

_FACTS = (
    select(
        DELIVERY,
        RENDITION.c.body,
        LOGIN.c.rests_until,
        LOGIN.c.routine_until,
        and_(~is_off(DELIVERY), original_is_live(DELIVERY)).label("may_go"),
        ordered_mode(DELIVERY).label("mode"),
        newest_id(DELIVERY.c.account).label("newest_id"),
    )
    .join(RENDITION, RENDITION.c.fingerprint == DELIVERY.c.rendition)
    .join(LOGIN, LOGIN.c.id == DELIVERY.c.login)
    .where(DELIVERY.c.id.in_(bindparam("deliveries", expanding=True)))
)


async def _may_go_on(outbox: Outbox, parcel: Parcel) -> bool:
    query = select(DELIVERY.c.id).where(
        DELIVERY.c.id == parcel.delivery,
        DELIVERY.c.attempts == parcel.attempt,
        DELIVERY.c.expires_at > outbox.books.world.now(),
        DELIVERY.c.is_withdrawn.is_(False),
        DELIVERY.c.is_retract_ordered.is_(False),
        stands(DELIVERY, State.SENDING),
    )
    return await outbox.books.database.read(lambda connection: connection.scalar(query)) is not None


def plant() -> None:
    intents._FACTS = _FACTS
    Outbox.may_go_on = _may_go_on
