"""Work of which one worker at a time is enough: whoever comes second leaves it alone, without waiting."""

from sqlalchemy import func, select

from publisher.store.db.database import Transaction


def try_lock(transaction: Transaction, name: str) -> bool:
    """Whether nobody else is at this kind of work; if so, nobody else is until this transaction ends."""
    if transaction.connection.dialect.name == "sqlite":
        return True
    return bool(
        transaction.connection.scalar(select(func.pg_try_advisory_xact_lock(func.hashtext(f"publisher/{name}"))))
    )
