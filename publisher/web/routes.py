"""The table of routes: every page and action, its permission, and its handler."""

from collections.abc import Sequence

from publisher.domain.user import Permission
from publisher.web import live
from publisher.web.accounts import accounts, offboard, pause, recovery, sign_in_links
from publisher.web.alerts import ask
from publisher.web.alerts import page as alerts
from publisher.web.approvals import approve, families, inbox
from publisher.web.approvals import bulk as bulk_approvals
from publisher.web.audit import page as audit
from publisher.web.calendar import page as calendar
from publisher.web.health import probes
from publisher.web.kit.access import Handler, PageRoute
from publisher.web.manual import page as assist
from publisher.web.people import me, people, sign_in
from publisher.web.posts import (
    bulk,
    deliveries,
    phone,
    post,
    post_actions,
    posts,
    search,
)
from publisher.web.today import page as today
from publisher.web.write import (
    bulk_move,
    draft_form,
    move,
    remove,
    renditions,
    uploads,
    urgent,
    write,
)

_EVERYBODY = None
_VIEW, _STOP, _OPERATE = Permission.VIEW, Permission.STOP, Permission.OPERATE
_SEND, _RETRACT, _APPROVE = Permission.SEND, Permission.RETRACT, Permission.APPROVE
_ASSIST, _CREDENTIALS = Permission.ASSIST, Permission.CREDENTIALS
_WRITE = Permission.WRITE
_ADMINISTER, _EXPORT = Permission.ADMINISTER, Permission.EXPORT


def _page(
    path: str, name: str, permission: Permission | None, handler: Handler
) -> PageRoute:
    return PageRoute(
        path=path, method="GET", name=name, permission=permission, handler=handler
    )


def _action(
    path: str, name: str, permission: Permission | None, handler: Handler
) -> PageRoute:
    return PageRoute(
        path=path, method="POST", name=name, permission=permission, handler=handler
    )


ROUTES: Sequence[PageRoute] = (
    _page("/healthz", "healthz", _EVERYBODY, probes.show_health),
    _page("/metrics", "metrics", _EVERYBODY, probes.show_metrics),
    _page("/", "root", _VIEW, today.show_root),
    _page("/today", "today", _VIEW, today.show_today),
    _page("/events", "events", _VIEW, live.show_events),
    _page("/login", "login", _EVERYBODY, sign_in.show_login),
    _action("/login", "log_in", _EVERYBODY, sign_in.log_in),
    _page("/login/code", "login_code", _EVERYBODY, sign_in.show_code),
    _action("/login/code", "enter_code", _EVERYBODY, sign_in.enter_code),
    _page("/setup", "setup", _EVERYBODY, sign_in.show_link_form),
    _action("/setup", "open_link", _EVERYBODY, sign_in.open_link),
    _action("/setup/begin", "begin_setup", _EVERYBODY, sign_in.begin_setup),
    _page("/setup/form", "setup_form", _EVERYBODY, sign_in.show_setup),
    _action("/setup/form", "set_up", _EVERYBODY, sign_in.set_up),
    _page("/logout", "logout", _VIEW, sign_in.show_logout),
    _action("/logout", "log_out", _VIEW, sign_in.log_out),
    _page("/inbox", "inbox", _VIEW, inbox.show_inbox),
    _page("/approve/{post}", "approve", _VIEW, families.show_approve),
    _action("/approve/{post}", "give_approval", _APPROVE, families.give_approval),
    _page("/approve/{post}/changes", "approve_changes", _VIEW, approve.show_changes),
    _page("/approve/{post}/return", "approve_return", _APPROVE, families.show_return),
    _action("/approve/{post}/return", "return_text", _APPROVE, families.return_text),
    _action(
        "/approve/{post}/return/undo", "undo_return", _APPROVE, approve.undo_return
    ),
    _action("/approve/{post}/release", "release_family", _VIEW, families.release),
    _action("/approve/{post}/end", "end_approvals", _STOP, families.end_approvals),
    _page("/bulk/approve", "bulk_approve", _APPROVE, bulk_approvals.show_bulk),
    _action("/bulk/approve", "give_approvals", _APPROVE, bulk_approvals.give_approvals),
    _page("/bulk/retract", "bulk_retract", _RETRACT, bulk.show_retract),
    _action("/bulk/retract", "retract_posts", _RETRACT, bulk.retract),
    _page("/bulk/move", "bulk_move", _WRITE, bulk_move.show_moves),
    _action("/bulk/move", "move_posts", _WRITE, bulk_move.move_posts),
    _page("/people", "people", _ADMINISTER, people.show_people),
    _action("/people", "add_person", _ADMINISTER, people.add_person),
    _action("/people/duty", "change_duty", _ADMINISTER, people.change_duty),
    _action(
        "/people/requests/{number}/confirm",
        "confirm_request",
        _ADMINISTER,
        people.confirm_request,
    ),
    _action(
        "/people/requests/{number}/decline",
        "decline_request",
        _ADMINISTER,
        people.decline_request,
    ),
    _page("/people/{name}", "person", _ADMINISTER, people.show_person),
    _action("/people/{name}/roles", "change_roles", _ADMINISTER, people.change_roles),
    _action(
        "/people/{name}/disable", "disable_person", _ADMINISTER, people.disable_person
    ),
    _action(
        "/people/{name}/enable", "enable_person", _ADMINISTER, people.enable_person
    ),
    _action("/people/{name}/reset", "reset_person", _ADMINISTER, people.reset_person),
    _page("/people/{name}/leave", "leave", _ADMINISTER, people.show_leave),
    _action("/people/{name}/leave", "leave_for_good", _ADMINISTER, people.leave),
    _page("/me", "me", _VIEW, me.show_me),
    _page("/me/resets", "my_resets", _VIEW, me.show_resets),
    _action("/me/step-up", "step_up", _VIEW, me.enter_step_up),
    _action("/me/password", "replace_password", _VIEW, me.replace_password),
    _action("/me/sessions", "end_session", _VIEW, me.end_session),
    _action("/me/tokens", "issue_token", _VIEW, me.issue_token),
    _action("/me/tokens/end", "end_token", _VIEW, me.end_token),
    _page("/pause", "pause", _STOP, pause.show_pause),
    _action("/pause", "pause_all", _STOP, pause.pause_all),
    _page("/resume", "resume", _OPERATE, pause.show_resume),
    _action("/resume", "resume_all", _OPERATE, pause.resume_all),
    _page("/write", "write", _WRITE, write.show_write),
    _action("/write", "save_post", _WRITE, write.save_form),
    _action("/write/check", "check_post", _WRITE, write.check_form),
    _page("/write/article/{fingerprint}", "draft_article", _WRITE, write.show_article),
    _page("/write/pictures/{name}", "draft_picture", _WRITE, uploads.show_picture),
    _page("/write/{draft}", "draft", _WRITE, write.show_write),
    _action("/write/{draft}/delete", "delete_draft", _WRITE, draft_form.delete_draft),
    _action(
        "/write/{draft}/restore", "restore_draft", _WRITE, draft_form.restore_draft
    ),
    _page("/urgent", "urgent", _WRITE, urgent.show_urgent),
    _action("/urgent", "send_urgent", _WRITE, urgent.send_urgent),
    _page("/urgent/{post}", "urgent_release", _VIEW, urgent.show_release),
    _action("/urgent/{post}", "release", _VIEW, urgent.release),
    _page("/posts/{post}/edit", "edit", _WRITE, write.show_edit),
    _action("/posts/{post}/move", "move_post", _WRITE, move.move_post),
    _page("/posts/{post}/remove", "remove", _WRITE, remove.show_remove),
    _action("/posts/{post}/remove", "remove_post", _WRITE, remove.remove_post),
    _page("/posts", "posts", _VIEW, posts.show_posts),
    _page("/posts/{post}", "post", _VIEW, post.show_post),
    _page("/posts/{post}/texts", "texts", _VIEW, post.show_texts),
    _page("/posts/{post}/cancel", "cancel_form", _STOP, post_actions.show_cancel),
    _action("/posts/{post}/cancel", "cancel", _STOP, post_actions.cancel),
    _page("/posts/{post}/retract", "retract_form", _RETRACT, post_actions.show_retract),
    _action("/posts/{post}/retract", "retract", _RETRACT, post_actions.retract),
    _page("/posts/{post}/resolve", "bulk_resolve", _OPERATE, bulk.show_resolve),
    _action("/posts/{post}/resolve", "resolve_all", _OPERATE, bulk.resolve),
    _page("/posts/{post}/refresh", "refresh_form", _SEND, post_actions.show_refresh),
    _action("/posts/{post}/refresh", "refresh_texts", _SEND, post_actions.refresh),
    _page("/posts/{post}/pause", "pause_post_form", _STOP, post_actions.show_pause),
    _action("/posts/{post}/pause", "pause_post", _STOP, post_actions.pause),
    _page(
        "/posts/{post}/resume", "resume_post_form", _OPERATE, post_actions.show_resume
    ),
    _action("/posts/{post}/resume", "resume_post", _OPERATE, post_actions.resume),
    _page("/posts/{post}/correct", "correct_form", _SEND, post_actions.show_correct),
    _action("/posts/{post}/correct", "correct", _SEND, post_actions.correct),
    _action("/posts/{post}/seen", "acknowledge_end", _SEND, alerts.acknowledge_end),
    _action("/posts/{post}/unseen", "restore_end", _SEND, alerts.restore_end),
    _page("/posts/{post}/{occurrence}", "occurrence", _VIEW, post.show_post),
    _page(
        "/posts/{post}/{occurrence}/texts", "occurrence_texts", _VIEW, post.show_texts
    ),
    _page(
        "/deliveries/{post}/{occurrence}/{account}",
        "delivery",
        _VIEW,
        deliveries.show_delivery,
    ),
    _page(
        "/deliveries/{post}/{occurrence}/{account}/resolve",
        "resolve_form",
        _OPERATE,
        deliveries.show_resolve,
    ),
    _action(
        "/deliveries/{post}/{occurrence}/{account}/resolve",
        "resolve",
        _OPERATE,
        deliveries.resolve,
    ),
    _page(
        "/deliveries/{post}/{occurrence}/{account}/resend",
        "resend_form",
        _SEND,
        deliveries.show_resend,
    ),
    _action(
        "/deliveries/{post}/{occurrence}/{account}/resend",
        "resend",
        _SEND,
        deliveries.resend,
    ),
    _page(
        "/deliveries/{post}/{occurrence}/{account}/retract",
        "retract_one_form",
        _RETRACT,
        deliveries.show_retract,
    ),
    _action(
        "/deliveries/{post}/{occurrence}/{account}/retract",
        "retract_one",
        _RETRACT,
        deliveries.retract,
    ),
    _page("/alerts", "alerts", _VIEW, alerts.show_alerts),
    _action(
        "/alerts/{number}/acknowledge", "acknowledge", _OPERATE, alerts.acknowledge
    ),
    _action(
        "/alerts/kinds/{code}/acknowledge",
        "acknowledge_kind",
        _OPERATE,
        alerts.acknowledge_kind,
    ),
    _action(
        "/alerts/{number}/unacknowledge",
        "unacknowledge",
        _OPERATE,
        alerts.unacknowledge,
    ),
    _action("/alerts/{number}/ask", "ask_about_alert", _VIEW, ask.ask_about_alert),
    _action(
        "/accounts/{account}/ask", "ask_about_account", _VIEW, ask.ask_about_account
    ),
    _page("/accounts", "accounts", _VIEW, accounts.show_accounts),
    _page("/accounts/{account}", "account", _VIEW, accounts.show_account),
    _page(
        "/accounts/{account}/pause", "pause_account_form", _STOP, accounts.show_pause
    ),
    _action("/accounts/{account}/pause", "pause_account", _STOP, accounts.pause),
    _page(
        "/accounts/{account}/resume",
        "resume_account_form",
        _OPERATE,
        accounts.show_resume,
    ),
    _action("/accounts/{account}/resume", "resume_account", _OPERATE, accounts.resume),
    _page(
        "/accounts/{account}/sign-in",
        "open_sign_in_link",
        _CREDENTIALS,
        sign_in_links.open_link,
    ),
    _action(
        "/accounts/{account}/sign-in",
        "send_sign_in_link",
        _CREDENTIALS,
        sign_in_links.send_link,
    ),
    _page("/authorised", "sign_in_answer", _EVERYBODY, sign_in_links.show_answer),
    _action(
        "/authorised", "take_sign_in_answer", _EVERYBODY, sign_in_links.take_answer
    ),
    _action("/accounts/{account}/probe", "probe_account", _OPERATE, accounts.probe),
    _page("/accounts/{account}/mode", "mode_form", _OPERATE, accounts.show_mode),
    _action("/accounts/{account}/mode", "set_mode", _OPERATE, accounts.set_mode),
    _page(
        "/accounts/{account}/evergreen",
        "evergreen_form",
        _SEND,
        accounts.show_evergreen,
    ),
    _action(
        "/accounts/{account}/evergreen",
        "schedule_evergreen",
        _SEND,
        accounts.schedule_post,
    ),
    _page(
        "/accounts/{account}/offboard",
        "offboard_form",
        _CREDENTIALS,
        offboard.show_offboard,
    ),
    _action(
        "/accounts/{account}/offboard", "offboard", _CREDENTIALS, offboard.offboard
    ),
    _page(
        "/platforms/{platform}/resume", "recover_form", _OPERATE, recovery.show_recovery
    ),
    _action("/platforms/{platform}/resume", "recover", _OPERATE, recovery.recover),
    _page("/assist", "assist", _VIEW, assist.show_tasks),
    _page(
        "/assist/{post}/{occurrence}/{account}", "assist_task", _VIEW, assist.show_task
    ),
    _action(
        "/assist/{post}/{occurrence}/{account}/done",
        "assist_done",
        _ASSIST,
        assist.report_done,
    ),
    _page("/calendar", "calendar", _VIEW, calendar.show_calendar),
    _page("/calendar/week", "calendar_week", _VIEW, calendar.show_week),
    _page("/calendar/list", "calendar_list", _VIEW, calendar.show_list),
    _page("/audit", "audit", _VIEW, audit.show_audit),
    _page("/audit/export", "export_audit", _EXPORT, audit.export),
    _page("/search", "search", _VIEW, search.show_search),
    _page("/help", "help", _VIEW, search.show_help),
    _page("/phone/{fingerprint}", "phone", _VIEW, phone.show_phone),
    _action("/phone/{fingerprint}", "send_preview", _VIEW, phone.send_preview),
    _page("/articles/{fingerprint}", "article", _VIEW, renditions.show_article),
    _page("/media/{fingerprint}/{sha256}", "media", _VIEW, renditions.show_media),
)
