"""Regular maintenance: expire leases and late deliveries, promote due ones, hold stuck ones, update alerts."""

from publisher.runtime.logs import log
from publisher.store.recovery.recover import can_plan
from publisher.store.store import Store
from publisher.store.system_alerts import SystemAlerts


async def update_system_alerts(system_alerts: SystemAlerts) -> None:
    """Alert people to clock jumps, an unconfirmed clock, failed writes and dropped log lines."""
    await system_alerts.alert_clock_changes()
    if system_alerts.has_unreported_errors:
        await system_alerts.alert_errors()
    await system_alerts.alert_dropped_lines()


async def run_maintenance(store: Store) -> None:
    """Run maintenance once. While the clock is not confirmed, only this process's own leases are handled."""
    maintenance = store.maintenance
    if number := await maintenance.correct_timestamps():
        log.warning("times_corrected", deliveries=number)
    await maintenance.expire_leases()
    if await can_plan(store.database):
        await maintenance.expire()
        await maintenance.cancel_orphans()
    await maintenance.promote_due()
    await maintenance.hold_overdue()
