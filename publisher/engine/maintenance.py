"""Time passes: leases lapse, waits end, what is late expires, what is stuck goes to a person; clocks are watched."""

from publisher.runtime.logs import log
from publisher.store.deliveries.maintenance import Maintenance
from publisher.store.monitor.system_alerts import SystemAlerts
from publisher.store.recovery.identity import can_plan


async def update_system_alerts(system_alerts: SystemAlerts) -> None:
    """Alert people to a clock that was set or is in doubt, to writes that could not be done, and to lost log lines."""
    await system_alerts.alert_clock_changes()
    if system_alerts.has_unreported_errors:
        await system_alerts.alert_errors()
    await system_alerts.alert_dropped_lines()


async def run_maintenance(maintenance: Maintenance) -> None:
    """Go one round. While the clock is not confirmed, only what this process has in hand is looked after."""
    if number := await maintenance.correct_timestamps():
        log.warning("times_corrected", deliveries=number)
    await maintenance.expire_leases()
    if await can_plan(maintenance.store.database):
        await maintenance.expire()
        await maintenance.cancel_orphans()
    await maintenance.promote_due()
    await maintenance.hold_overdue()


async def expire_own_leases(maintenance: Maintenance) -> int:
    """End every lease that this worker's predecessor left: it is dead, or this one could not have started."""
    return await maintenance.expire_own_leases()
