"""The texts and pictures of planned occurrences: stored once, named by hash, and never changed."""

import json
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime

from sqlalchemy import and_, delete, exists, insert, or_, select, tuple_, update

from publisher.domain.post import PostId
from publisher.store.db.approval_tables import APPROVABLE_TEXT, APPROVAL
from publisher.store.db.database import Transaction
from publisher.store.db.rows import batches
from publisher.store.db.tables import (
    ATTEMPT,
    DELIVERY,
    MEDIA,
    ORPHANED_ATTEMPT,
    RENDERED_POST,
    dump_rendered_post,
)
from publisher.store.plan.batches import RenderedOccurrence

KEYS_PER_QUERY = 200
_IS_REVIEWED = or_(
    APPROVABLE_TEXT.c.returned_at.is_not(None),
    exists().where(
        APPROVAL.c.post == APPROVABLE_TEXT.c.post,
        APPROVAL.c.occurrence == APPROVABLE_TEXT.c.occurrence,
        APPROVAL.c.fingerprint == APPROVABLE_TEXT.c.fingerprint,
    ),
)
"""True for a text that somebody has approved or returned. Later ones are compared with it."""
_REPLACED_TEXTS = (
    select(RENDERED_POST.c.fingerprint)
    .join(
        DELIVERY,
        and_(
            DELIVERY.c.post == RENDERED_POST.c.post,
            DELIVERY.c.occurrence == RENDERED_POST.c.occurrence,
            DELIVERY.c.account == RENDERED_POST.c.account,
        ),
    )
    .where(
        DELIVERY.c.rendered_hash != RENDERED_POST.c.fingerprint,
        ~exists().where(ATTEMPT.c.delivery == DELIVERY.c.id),
        ~exists().where(
            ORPHANED_ATTEMPT.c.rendered_hash == RENDERED_POST.c.fingerprint
        ),
    )
)
"""The texts that deliveries had before an edit. No call has been made for these deliveries."""


def write_contents(
    transaction: Transaction,
    media: Mapping[str, tuple[str, bytes]],
    rendered: Sequence[RenderedOccurrence],
    cancelled: AbstractSet[PostId],
) -> None:
    """Store the images of these occurrences, with their end of use, and the uncancelled texts."""
    connection = transaction.connection
    needed_until: dict[str, datetime] = {}
    for item in rendered:
        expires_at = item.planned.occurrence.expires_at
        for image in (
            image
            for rendered_post in item.revision.rendered_posts
            for image in rendered_post.images
        ):
            needed_until[image.sha256] = max(
                expires_at, needed_until.get(image.sha256, expires_at)
            )
    for digest, expires_at in sorted(needed_until.items()):
        is_image = MEDIA.c.sha256 == digest
        stored_until = connection.scalar(select(MEDIA.c.shown_until).where(is_image))
        if stored_until is None:
            media_type, data = media[digest]
            row = {
                "sha256": digest,
                "media_type": media_type,
                "data": data,
                "shown_until": expires_at,
            }
            connection.execute(insert(MEDIA), [row])
        elif stored_until < expires_at:
            connection.execute(
                update(MEDIA).where(is_image).values(shown_until=expires_at)
            )
    for item in rendered:
        if item.planned.post.id in cancelled:
            continue
        key, revision = item.planned.occurrence.key, item.revision.id
        rendered_posts = {
            rendered_post.fingerprint: rendered_post
            for rendered_post in item.revision.rendered_posts
        }
        query = select(RENDERED_POST.c.fingerprint).where(
            RENDERED_POST.c.fingerprint.in_(list(rendered_posts))
        )
        stored = set(connection.scalars(query))
        rows = [
            {
                "fingerprint": fingerprint,
                "revision_hash": revision,
                "post": key.post,
                "occurrence": key.occurrence,
                "account": rendered_post.account,
                "body": dump_rendered_post(rendered_post),
            }
            for fingerprint, rendered_post in rendered_posts.items()
            if fingerprint not in stored
        ]
        if rows:
            connection.execute(insert(RENDERED_POST), rows)


def delete_replaced_texts(
    transaction: Transaction, rendered: Sequence[RenderedOccurrence]
) -> None:
    """Delete the texts that these occurrences had before an edit, unless somebody needs them.

    A text is needed if a call is recorded for its delivery, here or by an orphaned attempt, or if
    somebody has approved or returned it.
    """
    connection = transaction.connection
    revised = {
        item.planned.occurrence.key for item in rendered if not item.planned.is_new
    }
    for batch in batches(sorted(revised), KEYS_PER_QUERY):
        keys = [(key.post, key.occurrence) for key in batch]
        is_of_keys = tuple_(RENDERED_POST.c.post, RENDERED_POST.c.occurrence).in_(keys)
        replaced = set(connection.scalars(_REPLACED_TEXTS.where(is_of_keys)))
        if not replaced:
            continue
        is_text = tuple_(APPROVABLE_TEXT.c.post, APPROVABLE_TEXT.c.occurrence).in_(keys)
        reviewed = select(APPROVABLE_TEXT.c.rendered_hashes).where(
            is_text, _IS_REVIEWED
        )
        for hashes in connection.scalars(reviewed):
            replaced.difference_update(json.loads(hashes).values())
        for unused in batches(sorted(replaced), KEYS_PER_QUERY):
            is_unused = RENDERED_POST.c.fingerprint.in_(unused)
            connection.execute(delete(RENDERED_POST).where(is_unused))
