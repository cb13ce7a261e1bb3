"""The jobs of a daemon beside sending: checks of its surroundings, notices to people, clean-up."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from functools import partial

from publisher.app.application import Application
from publisher.app.channel_check import ProvingChannels, check_channels
from publisher.app.format import Formatter
from publisher.app.previews import send_previews
from publisher.app.sign_in_links import carry_out_links
from publisher.config import Environment
from publisher.engine.certificates import check_certificates
from publisher.engine.checkpoints import (
    CheckpointTargets,
    build_checkpoint_targets,
    read_signed_checkpoint,
    write_checkpoint,
)
from publisher.engine.disk_space import check_disks
from publisher.engine.job_scheduler import Job
from publisher.engine.monitor import check_logins_due, monitor_due
from publisher.engine.notice_groups import platform_of
from publisher.engine.notice_writer import NoticeWriter, name_workspace
from publisher.engine.notifier import Notifier
from publisher.engine.offboard import remove_ordered_secrets, report_all_secrets
from publisher.i18n import Messages
from publisher.runtime.logs import log
from publisher.store.retention import compact_journal, prune

MAX_CHECKED_LOGINS = 50
"""Maximum logins with a sign-in checked at once.

Hundreds may be needed for one morning's posts.
"""
MAX_MONITORED_ACCOUNTS = 10
"""Maximum accounts with published posts read again at once.

It is never enough to delay the check of an unknown outcome.
"""


def build_checks(app: Application, messages: Messages) -> Sequence[Job]:
    """Return these jobs, each with its first time and its interval in seconds."""
    store, settings = app.store, app.settings
    targets = build_checkpoint_targets(settings)
    notifier = build_notifier(app, messages, targets)

    async def check_logins() -> None:
        if app.runtime.is_clock_confirmed():
            await check_logins_due(
                store, app.adapters, MAX_CHECKED_LOGINS, app.credentials
            )

    async def monitor() -> None:
        if app.runtime.is_clock_confirmed():
            await monitor_due(store, app.adapters, MAX_MONITORED_ACCOUNTS)

    async def check_backup() -> int:
        if settings.environment is not Environment.LIVE:
            return 0
        return await store.last_backup.update(settings.backup_max_age)

    async def prune_old() -> None:
        pruned = await prune(store, timedelta(days=settings.days_kept))
        if pruned.deliveries or pruned.pictures:
            log.info("pruned", **asdict(pruned))

    report_secrets = partial(report_all_secrets, store, settings)
    remove_secrets = partial(remove_ordered_secrets, store, settings)
    check_silence = partial(store.silence.update, settings.timezone)
    check_tls = partial(check_certificates, store, settings)
    write_anchor = partial(write_checkpoint, store.audit, targets)
    return (
        Job("check_logins", check_logins, 5.0, 30.0),
        Job("monitor", monitor, 30.0, 15.0),
        Job("check_preflight", store.preflight.run, 15.0, 30.0),
        Job("check_silence", check_silence, 20.0, 60.0),
        Job("report_secrets", report_secrets, 1.0, 30.0),
        Job("remove_secrets", remove_secrets, 3.0, 3.0),
        Job("sign_in_links", partial(carry_out_links, app), 2.0, 2.0),
        Job("send_previews", partial(send_previews, app), 2.5, 2.0),
        Job("check_appeals", store.appeals.update, 50.0, 300.0),
        Job("check_backlog", store.backlog.update, 25.0, 30.0),
        Job("check_workers", store.lost_workers.update, 10.0, 10.0),
        Job("check_backup", check_backup, 35.0, 60.0),
        Job("check_replication", store.replication.update, 20.0, 30.0),
        Job("check_disks", partial(check_disks, store, settings), 5.0, 30.0),
        Job("check_certificates", check_tls, 40.0, 3600.0),
        Job("check_channels", partial(check_channels, store, settings), 45.0, 60.0),
        Job("check_refusals", store.users.attempts.close_windows, 30.0, 60.0),
        # after the other checks: what ended while no daemon ran is over by then
        Job("return_alerts", store.acknowledgements.expire, 70.0, 60.0),
        Job(
            "notify",
            notifier.run,
            1.0,
            2.0,
            run_last=partial(notifier.run, is_last=True),
        ),
        Job("write_checkpoint", write_anchor, 10.0, 300.0),
        Job("compact_journal", partial(compact_journal, store), 120.0, 86400.0),
        Job("prune", prune_old, 180.0, 86400.0),
    )


def build_notifier(
    app: Application, messages: Messages, targets: CheckpointTargets
) -> Notifier:
    """Return the job that notifies people of alerts, in the language of the daemon."""
    settings, store = app.settings, app.store
    formatter = Formatter(messages=messages, timezone=settings.timezone)
    return Notifier(
        store=store,
        rules=settings.alerts,
        timezone=settings.timezone,
        writer=NoticeWriter(
            messages=messages,
            dashboard=settings.alerts.dashboard,
            describe=formatter.alert,
            name_cause=formatter.cause,
            format_time=formatter.time,
            workspace=name_workspace(settings.workspace),
            platform_of=partial(platform_of, settings.accounts),
        ),
        send=ProvingChannels(store=store, settings=settings).send,
        read_checkpoint=partial(read_signed_checkpoint, store.audit, targets),
    )
