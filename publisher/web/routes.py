"""The table of routes: every page and action, what it needs, and its handler."""

from collections.abc import Sequence

from publisher.domain.user import Permission
from publisher.web.access import Handler, PageRoute
from publisher.web.pages import pause, sign_in, today

_EVERYBODY = None
_VIEW, _STOP, _OPERATE = Permission.VIEW, Permission.STOP, Permission.OPERATE


def _page(path: str, name: str, permission: Permission | None, handler: Handler) -> PageRoute:
    return PageRoute(path=path, method="GET", name=name, permission=permission, handler=handler)


def _action(path: str, name: str, permission: Permission | None, handler: Handler) -> PageRoute:
    return PageRoute(path=path, method="POST", name=name, permission=permission, handler=handler)


ROUTES: Sequence[PageRoute] = (
    _page("/", "root", _VIEW, today.show_root),
    _page("/today", "today", _VIEW, today.show_today),
    _page("/login", "login", _EVERYBODY, sign_in.show_login),
    _action("/login", "log_in", _EVERYBODY, sign_in.log_in),
    _page("/login/code", "login_code", _EVERYBODY, sign_in.show_code),
    _action("/login/code", "enter_code", _EVERYBODY, sign_in.enter_code),
    _page("/setup/{link}", "setup", _EVERYBODY, sign_in.show_setup),
    _action("/setup/{link}", "set_up", _EVERYBODY, sign_in.set_up),
    _page("/logout", "logout", _VIEW, sign_in.show_logout),
    _action("/logout", "log_out", _VIEW, sign_in.log_out),
    _page("/pause", "pause", _STOP, pause.show_pause),
    _action("/pause", "pause_all", _STOP, pause.pause_all),
    _page("/resume", "resume", _OPERATE, pause.show_resume),
    _action("/resume", "resume_all", _OPERATE, pause.resume_all),
)
