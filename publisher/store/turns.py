"""Work of which one worker at a time is enough: whoever comes second leaves it alone, without waiting."""

from sqlalchemy import func, select

from publisher.store.engine import Unit


def has_turn(unit: Unit, work: str) -> bool:
    """Whether nobody else is at this kind of work; if so, nobody else is until this transaction ends."""
    if unit.connection.dialect.name == "sqlite":
        return True
    return bool(unit.connection.scalar(select(func.pg_try_advisory_xact_lock(func.hashtext(f"publisher/{work}")))))
