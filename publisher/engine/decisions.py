"""People's decisions about single deliveries, and the system users of these people."""

import os
import pwd
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from pathlib import Path

from publisher.domain.characters import is_same_name
from publisher.domain.delivery import (
    CHECKED_STATES,
    Actor,
    Delivery,
    Resolved,
    Role,
    State,
    SystemUser,
)
from publisher.domain.errors import RefusedError
from publisher.domain.results import HoldReason, Receipt
from publisher.store.store import Store

LOGINUID_FILE = Path("/proc/self/loginuid")
"""The login user, kept by the kernel through `su` and `sudo`. Not every system has it."""
NO_LOGIN_UID = 2**32 - 1
"""The content of LOGINUID_FILE in a process that no login started."""
SUDO_VARIABLE = "SUDO_USER"
MAX_NAME_CHARACTERS = 64


class Resolution(StrEnum):
    """A person's resolution of a delivery that is held or has an unknown outcome."""

    PUBLISHED = "published"
    NOT_PUBLISHED = "not-published"
    RESEND = "resend"
    CANCEL = "cancel"


CONFIRM = "confirm"
RULINGS = (*Resolution, CONFIRM)
"""The possible rulings of a person.

The last one belongs to a second person, about the statement of the first.
"""

_STATES = {
    Resolution.NOT_PUBLISHED: State.FAILED,
    Resolution.RESEND: State.DUE,
    Resolution.CANCEL: State.CANCELLED,
}


def named_person(name: str) -> Actor:
    """Return a person as an actor, with this process's system user. The name is not verified."""
    return Actor(role=Role.PERSON, name=name, system=read_system_user())


def read_system_user() -> SystemUser:
    """Return the user of this process, the login user, and the user that sudo names (unproven)."""
    uid, login, sudo = os.getuid(), None, os.environ.get(SUDO_VARIABLE)
    with suppress(OSError, ValueError):
        found = int(LOGINUID_FILE.read_text("ascii"))
        login = None if found == NO_LOGIN_UID else found
    return SystemUser(
        uid=uid,
        user=_user_name(uid),
        login_uid=login,
        login_user=None if login is None else _user_name(login),
        sudo_user=_printable_name(sudo) if sudo else None,
    )


@lru_cache(maxsize=16)
def _user_name(uid: int) -> str | None:
    """Return a user's name. Cached, as this may query a directory service."""
    try:
        return _printable_name(pwd.getpwuid(uid).pw_name)
    except KeyError:
        return None


def _printable_name(text: str) -> str:
    """Return a name with unprintable characters escaped, at most MAX_NAME_CHARACTERS of it."""
    return (
        text[:MAX_NAME_CHARACTERS]
        if text.isprintable()
        else ascii(text[:MAX_NAME_CHARACTERS])
    )


def can_be_resolved(delivery: Delivery) -> bool:
    """Return True if a person may decide: the delivery is held, or its outcome is being checked."""
    return delivery.state is State.HELD or delivery.state in CHECKED_STATES


async def resolve_delivery(  # noqa: PLR0913 # who, what, why, and the second person
    store: Store,
    delivery: Delivery,
    resolution: Resolution,
    *,
    by: Actor,
    reason: str,
    url: str | None = None,
    second_person: str | None = None,
    version: int | None = None,
) -> Delivery:
    """Resolve a delivery that is held or being checked. A manual task is cancelled by it.

    While it is checked, its outcome is open. `PUBLISHED` without a second person only makes
    publisher look again, at `url` too. With one, the delivery counts as published. Raises
    RefusedError in these cases: There is nothing to resolve. There was never a call to look for. A
    call would be repeated before anything was read. A retraction is pending. Both persons are the
    same. The delivery is not the `version` that the person has seen.
    """
    if not can_be_resolved(delivery):
        raise RefusedError("nothing_to_resolve", state=delivery.state.value)
    is_task = delivery.manual_task is not None and delivery.state in {
        State.SUBMITTED,
        State.RETRACTING,
    }
    if (
        resolution is Resolution.RESEND
        and delivery.state in CHECKED_STATES
        and not delivery.readbacks
        and not is_task
    ):
        subject = f"{delivery.key.post}@{delivery.account}"
        raise RefusedError("not_read_yet", state=delivery.state.value, subject=subject)
    is_published = (
        delivery.receipt is not None and not delivery.receipt.is_manually_confirmed
    )
    if (
        delivery.is_retraction_requested
        and is_published
        and resolution in {Resolution.RESEND, Resolution.CANCEL}
    ):
        raise RefusedError("retraction_pending", state=delivery.state.value)
    if (
        resolution is Resolution.PUBLISHED
        and second_person is None
        and not delivery.attempts
    ):
        raise RefusedError("never_sent", state=delivery.state.value)
    if second_person is not None and is_same_name(second_person, by.name):
        raise RefusedError("same_person", by=by.name)
    if resolution is not Resolution.PUBLISHED:
        event = Resolved(to=_STATES[resolution], reason=reason)
    elif second_person is None:
        event = Resolved(to=State.UNKNOWN, reason=reason, url=url)
    else:
        receipt = Receipt(
            remote_id=f"by-word-{delivery.id}",
            url=url or "",
            published_at=store.runtime.now(),
            is_manually_confirmed=True,
        )
        event = Resolved(
            to=State.PUBLISHED,
            reason=f"{reason} ({second_person})",
            url=url,
            receipt=receipt,
        )
    if is_task:
        return await store.manual_tasks.cancel_task(delivery.id, event, by, version)
    return await store.actions.apply_event(delivery.id, event, by, version)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The result of a person's ruling: the message with its facts, and the delivery afterwards."""

    code: str
    delivery: Delivery
    url: str | None = None
    second: str | None = None


async def decide(  # noqa: PLR0913 # who, what, why, where, and what they have seen
    store: Store,
    delivery: Delivery,
    ruling: str,
    *,
    by: Actor,
    reason: str,
    url: str | None = None,
    version: int | None = None,
) -> Decision:
    """Carry out one of RULINGS. A claim of publication counts once a second person confirms it.

    Until then publisher looks again, if a call was made that it could look for. Raises RefusedError
    as `resolve_delivery` does, and if there is nothing to confirm.
    """
    is_confirmed, first = ruling == CONFIRM, None
    resolution = Resolution.PUBLISHED if is_confirmed else Resolution(ruling)
    if is_confirmed:
        request = await store.actions.confirmation_request(delivery.id)
        if request is None:
            raise RefusedError(
                "nothing_to_confirm", subject=f"{delivery.key.post}@{delivery.account}"
            )
        url, first = request.url, request.by
    elif resolution is Resolution.PUBLISHED and url and can_be_resolved(delivery):
        await store.actions.request_confirmation(delivery.id, url, by, reason, version)
        if not delivery.attempts:  # no call was made that could be looked for
            return Decision(code="resolve_requested", delivery=delivery, url=url)
    after = await resolve_delivery(
        store,
        delivery,
        resolution,
        by=by,
        reason=reason,
        url=url,
        second_person=first,
        version=version,
    )
    if is_confirmed or resolution is not Resolution.PUBLISHED:
        await store.actions.end_confirmation_request(delivery.id)
    code = resolution_message(resolution, after, is_manually_confirmed=is_confirmed)
    return Decision(code=code, delivery=after, url=url, second=first)


def resolution_message(
    resolution: Resolution, after: Delivery, *, is_manually_confirmed: bool
) -> str:
    """Return the message for the result.

    A retraction that was asked for earlier goes before the decision.
    """
    match after.state:
        case State.HELD if after.reason == HoldReason.EDITED:
            return "resolved_edited"
        case State.RETRACTED:
            return "resolved_retracted"
        case State.RETRACTING:
            return "resolved_retracting"
        case State.CANCELLED:
            return "resolved_cancel"
        case _:
            return (
                "resolved_published_by_people"
                if is_manually_confirmed
                else f"resolved_{resolution.value}"
            )
