"""The store for its users: an attribute for each part, as `store.outbox` or `store.queries`."""

from functools import cached_property
from typing import TYPE_CHECKING

from publisher.store.base import BaseStore
from publisher.store.queries.queries import Queries
from publisher.store.system_alerts import SystemAlerts

if TYPE_CHECKING:
    from publisher.store.approvals.decisions import ApprovalStore
    from publisher.store.approvals.duty import DutyRoster
    from publisher.store.deliveries.maintenance import Maintenance
    from publisher.store.deliveries.outbox import Outbox
    from publisher.store.manual_tasks import ManualTasks
    from publisher.store.monitor.acknowledgements import Acknowledgements
    from publisher.store.monitor.appeals import Appeals
    from publisher.store.monitor.backlog import Backlog
    from publisher.store.monitor.callback_arrivals import CallbackArrivals
    from publisher.store.monitor.channel_proofs import ChannelProofs
    from publisher.store.monitor.kept_secrets import KeptSecrets
    from publisher.store.monitor.last_backup import LastBackup
    from publisher.store.monitor.login_health import LoginHealthStore
    from publisher.store.monitor.lost_workers import LostWorkers
    from publisher.store.monitor.monitor import Monitoring
    from publisher.store.monitor.preflight import Preflight
    from publisher.store.monitor.previews import Previews
    from publisher.store.monitor.replication import Replication
    from publisher.store.monitor.sign_in_links import SignInLinks
    from publisher.store.monitor.silence import SilenceStore
    from publisher.store.notices import NoticeStore
    from publisher.store.people.drafts import Drafts, Uploads
    from publisher.store.people.saves import PostSaves
    from publisher.store.people.sign_ins import SignIns
    from publisher.store.people.user_changes import UserChanges
    from publisher.store.people.users import Users
    from publisher.store.plan.accounts import AccountStore
    from publisher.store.plan.actions import OperatorActions
    from publisher.store.plan.posts import PostStore
    from publisher.store.queries.audit_log import AuditLog
    from publisher.store.queries.counters import CounterQueries
    from publisher.store.queries.dashboard import DashboardQueries
    from publisher.store.queries.occurrences import OccurrenceQueries
    from publisher.store.queries.progress import ProgressQueries
    from publisher.store.queries.todo import WaitingQueries


class Store(BaseStore):
    """One worker's access to the database, and all parts of the store.

    A part that not every command uses is imported with its first use: all of them together would
    make `status` 0.06 s slower.
    """

    @cached_property
    def posts(self) -> "PostStore":
        from publisher.store.plan.posts import PostStore  # noqa: PLC0415 # see the class

        return PostStore(self)

    @cached_property
    def accounts(self) -> "AccountStore":
        from publisher.store.plan.accounts import AccountStore  # noqa: PLC0415 # see the class

        return AccountStore(self)

    @cached_property
    def actions(self) -> "OperatorActions":
        from publisher.store.plan.actions import OperatorActions  # noqa: PLC0415 # see the class

        return OperatorActions(self)

    @cached_property
    def manual_tasks(self) -> "ManualTasks":
        from publisher.store.manual_tasks import ManualTasks  # noqa: PLC0415 # see the class

        return ManualTasks(self)

    @cached_property
    def approvals(self) -> "ApprovalStore":
        from publisher.store.approvals.decisions import ApprovalStore  # noqa: PLC0415 # see the class

        return ApprovalStore(self)

    @cached_property
    def duty(self) -> "DutyRoster":
        from publisher.store.approvals.duty import DutyRoster  # noqa: PLC0415 # see the class

        return DutyRoster(self)

    @cached_property
    def queries(self) -> Queries:
        return Queries(self)

    @cached_property
    def system_alerts(self) -> SystemAlerts:
        return SystemAlerts(self)

    @cached_property
    def outbox(self) -> "Outbox":
        from publisher.store.deliveries.outbox import Outbox  # noqa: PLC0415 # see the class

        return Outbox(self)

    @cached_property
    def maintenance(self) -> "Maintenance":
        from publisher.store.deliveries.maintenance import Maintenance  # noqa: PLC0415 # see the class

        return Maintenance(self)

    @cached_property
    def monitoring(self) -> "Monitoring":
        from publisher.store.monitor.monitor import Monitoring  # noqa: PLC0415 # see the class

        return Monitoring(self)

    @cached_property
    def login_health(self) -> "LoginHealthStore":
        from publisher.store.monitor.login_health import LoginHealthStore  # noqa: PLC0415 # see the class

        return LoginHealthStore(self)

    @cached_property
    def preflight(self) -> "Preflight":
        from publisher.store.monitor.preflight import Preflight  # noqa: PLC0415 # see the class

        return Preflight(self)

    @cached_property
    def silence(self) -> "SilenceStore":
        from publisher.store.monitor.silence import SilenceStore  # noqa: PLC0415 # see the class

        return SilenceStore(self)

    @cached_property
    def appeals(self) -> "Appeals":
        from publisher.store.monitor.appeals import Appeals  # noqa: PLC0415 # see the class

        return Appeals(self)

    @cached_property
    def backlog(self) -> "Backlog":
        from publisher.store.monitor.backlog import Backlog  # noqa: PLC0415 # see the class

        return Backlog(self)

    @cached_property
    def lost_workers(self) -> "LostWorkers":
        from publisher.store.monitor.lost_workers import LostWorkers  # noqa: PLC0415 # see the class

        return LostWorkers(self)

    @cached_property
    def last_backup(self) -> "LastBackup":
        from publisher.store.monitor.last_backup import LastBackup  # noqa: PLC0415 # see the class

        return LastBackup(self)

    @cached_property
    def callback_arrivals(self) -> "CallbackArrivals":
        from publisher.store.monitor.callback_arrivals import CallbackArrivals  # noqa: PLC0415 # see the class

        return CallbackArrivals(self)

    @cached_property
    def replication(self) -> "Replication":
        from publisher.store.monitor.replication import Replication  # noqa: PLC0415 # see the class

        return Replication(self)

    @cached_property
    def acknowledgements(self) -> "Acknowledgements":
        from publisher.store.monitor.acknowledgements import Acknowledgements  # noqa: PLC0415 # see the class

        return Acknowledgements(self)

    @cached_property
    def channel_proofs(self) -> "ChannelProofs":
        from publisher.store.monitor.channel_proofs import ChannelProofs  # noqa: PLC0415 # see the class

        return ChannelProofs(self)

    @cached_property
    def kept_secrets(self) -> "KeptSecrets":
        from publisher.store.monitor.kept_secrets import KeptSecrets  # noqa: PLC0415 # see the class

        return KeptSecrets(self)

    @cached_property
    def sign_in_links(self) -> "SignInLinks":
        from publisher.store.monitor.sign_in_links import SignInLinks  # noqa: PLC0415 # see the class

        return SignInLinks(self)

    @cached_property
    def previews(self) -> "Previews":
        from publisher.store.monitor.previews import Previews  # noqa: PLC0415 # see the class

        return Previews(self)

    @cached_property
    def notices(self) -> "NoticeStore":
        from publisher.store.notices import NoticeStore  # noqa: PLC0415 # see the class

        return NoticeStore(self)

    @cached_property
    def audit(self) -> "AuditLog":
        from publisher.store.queries.audit_log import AuditLog  # noqa: PLC0415 # see the class

        return AuditLog(self)

    @cached_property
    def occurrences(self) -> "OccurrenceQueries":
        from publisher.store.queries.occurrences import OccurrenceQueries  # noqa: PLC0415 # see the class

        return OccurrenceQueries(self)

    @cached_property
    def dashboard(self) -> "DashboardQueries":
        from publisher.store.queries.dashboard import DashboardQueries  # noqa: PLC0415 # see the class

        return DashboardQueries(self)

    @cached_property
    def counters(self) -> "CounterQueries":
        from publisher.store.queries.counters import CounterQueries  # noqa: PLC0415 # see the class

        return CounterQueries(self)

    @cached_property
    def progress(self) -> "ProgressQueries":
        from publisher.store.queries.progress import ProgressQueries  # noqa: PLC0415 # see the class

        return ProgressQueries(self)

    @cached_property
    def waiting(self) -> "WaitingQueries":
        from publisher.store.queries.todo import WaitingQueries  # noqa: PLC0415 # see the class

        return WaitingQueries(self)

    @cached_property
    def users(self) -> "Users":
        from publisher.store.people.users import Users  # noqa: PLC0415 # see the class

        return Users(self)

    @cached_property
    def user_changes(self) -> "UserChanges":
        from publisher.store.people.user_changes import UserChanges  # noqa: PLC0415 # see the class

        return UserChanges(self)

    @cached_property
    def sign_ins(self) -> "SignIns":
        from publisher.store.people.sign_ins import SignIns  # noqa: PLC0415 # see the class

        return SignIns(self)

    @cached_property
    def drafts(self) -> "Drafts":
        from publisher.store.people.drafts import Drafts  # noqa: PLC0415 # see the class

        return Drafts(self)

    @cached_property
    def uploads(self) -> "Uploads":
        from publisher.store.people.drafts import Uploads  # noqa: PLC0415 # see the class

        return Uploads(self)

    @cached_property
    def saves(self) -> "PostSaves":
        from publisher.store.people.saves import PostSaves  # noqa: PLC0415 # see the class

        return PostSaves(self)
