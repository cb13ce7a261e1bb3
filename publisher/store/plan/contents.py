"""The texts and pictures of planned occurrences: stored once, named by hash, and never changed."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime

from sqlalchemy import insert, select, update

from publisher.domain.post import PostId
from publisher.store.db.database import Transaction
from publisher.store.db.tables import MEDIA, RENDERED_POST, dump_rendered_post
from publisher.store.plan.batches import RenderedOccurrence


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
            needed_until[image.sha256] = max(expires_at, needed_until.get(image.sha256, expires_at))
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
            connection.execute(update(MEDIA).where(is_image).values(shown_until=expires_at))
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
