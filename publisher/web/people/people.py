"""People: their roles, the officers on duty, and the things that end when somebody leaves."""

from collections import Counter
from collections.abc import Mapping, Sequence

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response

from publisher.domain.characters import remove_forbidden_characters
from publisher.domain.errors import (
    ApprovalError,
    NoSuchItemError,
    RefusedError,
    SignInError,
)
from publisher.domain.user import (
    Grant,
    GrantSyntaxError,
    Permission,
    SignInFactor,
    User,
    UserChange,
    UserChangeKind,
    UserRole,
    UserState,
    find_unknown_targets,
    is_trusted,
    parse_grant,
)
from publisher.engine.departure import read_touched
from publisher.store.people.user_changes import ChangedUser
from publisher.web.kit.forms import parse_number
from publisher.web.kit.frame import read_frame_facts, read_moment
from publisher.web.kit.page import person_path, read_person, redirect, render_page
from publisher.web.kit.site import Notice, Visitor, get_site, get_visitor

MAX_PHONE_CHARACTERS = 40
EMPTY_ROWS = 2
"""Rows of a form for roles that are not filled in yet."""


async def show_people(request: Request) -> Response:
    return await _render_people(request)


async def _render_people(
    request: Request,
    problems: Mapping[str, str] | None = None,
    name: str = "",
    *,
    status: int = 200,
) -> Response:
    store = get_site(request).store
    visitor = get_visitor(request)
    moment = await read_moment(visitor)
    users = list(filter(None, map(visitor.limit_person, await store.users.list())))
    officers = visitor.limit_officers(moment.facts.officers)
    return await render_page(
        request,
        "people/people",
        status=status,
        moment=moment,
        users=users,
        requests=await store.user_changes.requests()
        if visitor.may_everywhere(Permission.ADMINISTER)
        else (),
        officers=officers,
        on_duty={officer.name for officer in officers},
        last_seen=await store.sign_ins.last_seen(),
        approvals=Counter(
            one.person for task in moment.waiting.tasks for one in task.status.counted
        ),
        rows=[None] * EMPTY_ROWS,
        roles=list(UserRole),
        targets=list_targets(visitor),
        problems=problems or {},
        new_name=name,
    )


def list_targets(visitor: Visitor) -> Sequence[str]:
    """Return the possible limits of a role that the visitor may see.

    They are groups, regions, platforms and accounts.
    """
    reach, members = visitor.reach(Permission.VIEW), visitor.site.members
    names = [*sorted(members), *visitor.site.settings.accounts]
    return [
        name
        for name in names
        if reach is None or reach.issuperset(members.get(name, [name]))
    ]


async def load_person(request: Request) -> User:
    """Return the person of the path as the visitor may see them.

    Raises NoSuchItemError for others.
    """
    name = read_person(request)
    user = get_visitor(request).limit_person(
        await get_site(request).store.users.get(name)
    )
    if user is None:
        raise NoSuchItemError("user", name)
    return user


async def show_person(request: Request) -> Response:
    return await _render_person(request)


async def _render_person(
    request: Request, problems: Mapping[str, str] | None = None, *, status: int = 200
) -> Response:
    store, name = get_site(request).store, read_person(request)
    user = await load_person(request)
    sessions, tokens = await store.sign_ins.count_valid(name)
    facts = await read_frame_facts(get_site(request), get_visitor(request).audit_number)
    return await render_page(
        request,
        "people/person",
        status=status,
        user=user,
        sessions=sessions,
        tokens=tokens,
        is_on_duty=name in {officer.name for officer in facts.officers},
        rows=[*user.grants, *[None] * EMPTY_ROWS],
        roles=list(UserRole),
        targets=list_targets(get_visitor(request)),
        problems=problems or {},
        is_trusted=is_trusted(user.grants),
        UserState=UserState,
    )


async def read_grants(request: Request) -> Sequence[Grant]:
    """Return the roles that a form names.

    Raises RefusedError, with the reason, if they are invalid.
    """
    form, site = await request.form(), get_site(request)
    columns = [
        [str(value).strip() for value in form.getlist(key)]
        for key in ("role", "stages", "targets")
    ]
    grants = []
    for role, stages, targets in zip(*columns, strict=False):
        if not role:
            continue
        text = f"{role}{f':{stages}' if stages else ''}{f'@{targets}' if targets else ''}".replace(
            "，", ","
        )
        try:
            grants.append(parse_grant(text))
        except GrantSyntaxError as error:
            raise RefusedError(error.code, value=error.value) from None
    if not grants:
        raise RefusedError("web_roles_missing")
    if unknown := find_unknown_targets(
        grants, site.settings.accounts, site.settings.groups
    ):
        raise RefusedError("grant_target_unknown", value=", ".join(unknown))
    return grants


def require_administrator(request: Request) -> None:
    """Raise SignInError unless the visitor administers users and has just stepped up.

    To step up is to repeat the second factor.
    """
    visitor = get_visitor(request)
    visitor.require_everywhere(Permission.ADMINISTER)
    if not visitor.is_stepped_up:
        raise SignInError("web_step_up_needed")


async def add_person(request: Request) -> Response:
    """Add a user, and show the one-time link once."""
    require_administrator(request)
    site, visitor, form = get_site(request), get_visitor(request), await request.form()
    name = " ".join(str(form.get("name", "")).split())
    if not name or not name.isprintable():
        problem = visitor.messages.translate("web_name_missing")
        return await _render_people(request, {"name": problem}, name, status=422)
    try:
        change = UserChange(
            kind=UserChangeKind.ADD, user=name, grants=tuple(await read_grants(request))
        )
        changed = await site.store.user_changes.submit(change, visitor.actor)
    except RefusedError as error:
        key = "name" if error.code in {"user_exists", "user_name_unusable"} else "role"
        problem = visitor.messages.translate(error.code, **error.facts)
        return await _render_people(request, {key: problem}, name, status=422)
    return show_change(request, changed)


DONE_CODES = {
    UserChangeKind.ADD: "web_done_person_added",
    UserChangeKind.CHANGE: "web_done_roles",
    UserChangeKind.RESET: "web_done_reset",
}


def show_change(request: Request, changed: ChangedUser) -> Response:
    """Go to the person's page, with a one-time link if there is one, or to a waiting request."""
    change = changed.change
    if changed.request is not None:
        facts = {"change": get_visitor(request).formatter.user_request(changed.request)}
        return redirect(
            request, "/people", Notice(code="web_done_requested", facts=facts)
        )
    get_site(request).streams.end_user(change.user)
    link = {"link": make_link(request, changed.link)} if changed.link else {}
    is_renewed = bool(link) and change.kind is UserChangeKind.CHANGE
    code = "web_done_roles_renewed" if is_renewed else DONE_CODES[change.kind]
    notice = Notice(code=code, facts={"name": change.user, **link})
    return redirect(request, person_path(change.user), notice)


async def confirm_request(request: Request) -> Response:
    """Carry out another administrator's request, and show its one-time link once, if any."""
    require_administrator(request)
    store, visitor = get_site(request).store, get_visitor(request)
    return show_change(
        request,
        await store.user_changes.confirm(read_request_number(request), visitor.actor),
    )


async def decline_request(request: Request) -> Response:
    """End a request, another administrator's or one's own."""
    require_administrator(request)
    store, visitor = get_site(request).store, get_visitor(request)
    change = await store.user_changes.decline(
        read_request_number(request), visitor.actor
    )
    facts = {"change": visitor.formatter.user_change(change)}
    return redirect(request, "/people", Notice(code="web_done_declined", facts=facts))


def read_request_number(request: Request) -> int:
    """Return the number of the request in the path; -1, which none has, for anything else."""
    return parse_number(str(request.path_params["number"]))


def make_link(request: Request, link: str) -> str:
    """Return the address of a one-time link for its person. No proxy sees the part behind `#`."""
    base = get_site(request).settings.dashboard.url or str(request.base_url)
    return f"{base.rstrip('/')}/setup#{link}"


async def change_roles(request: Request) -> Response:
    require_administrator(request)
    store, visitor, name = (
        get_site(request).store,
        get_visitor(request),
        read_person(request),
    )
    try:
        change = UserChange(
            kind=UserChangeKind.CHANGE,
            user=name,
            grants=tuple(await read_grants(request)),
        )
        changed = await store.user_changes.submit(change, visitor.actor)
    except RefusedError as error:
        problem = visitor.messages.translate(error.code, **error.facts)
        return await _render_person(request, {"role": problem}, status=422)
    return show_change(request, changed)


async def disable_person(request: Request) -> Response:
    require_administrator(request)
    store, name = get_site(request).store, read_person(request)
    await store.users.disable(name, get_visitor(request).actor)
    get_site(request).streams.end_user(name)
    notice = Notice(
        code="web_done_disabled",
        facts={"name": name},
        undo=f"{person_path(name)}/enable",
    )
    return redirect(request, person_path(name), notice)


async def enable_person(request: Request) -> Response:
    require_administrator(request)
    store, name = get_site(request).store, read_person(request)
    await store.users.enable(name, get_visitor(request).actor)
    return redirect(
        request,
        person_path(name),
        Notice(code="web_done_enabled", facts={"name": name}),
    )


async def reset_person(request: Request) -> Response:
    """Take the password or the second factor away, and show a new one-time link once."""
    require_administrator(request)
    name, form = read_person(request), await request.form()
    is_second = "second_factor" in form
    factor = SignInFactor.SECOND_FACTOR if is_second else SignInFactor.PASSWORD
    change = UserChange(
        kind=UserChangeKind.RESET, user=name, factors=frozenset({factor})
    )
    return show_change(
        request,
        await get_site(request).store.user_changes.submit(
            change, get_visitor(request).actor
        ),
    )


def read_phone(form: FormData) -> str:
    """Return a telephone that was typed, on one line."""
    return remove_forbidden_characters(" ".join(str(form.get("phone", "")).split()))[
        :MAX_PHONE_CHARACTERS
    ]


async def change_duty(request: Request) -> Response:
    """Put somebody on duty, or off it."""
    require_administrator(request)
    store, visitor, form = (
        get_site(request).store,
        get_visitor(request),
        await request.form(),
    )
    name, is_on, phone = str(form.get("name", "")), "on" in form, read_phone(form)
    await store.users.get(name)
    try:
        if is_on:
            await store.duty.add(name, visitor.actor, phone)
        else:
            await store.duty.remove(name, visitor.actor)
    except ApprovalError as error:
        problem = visitor.messages.translate(error.code, **error.facts)
        return await _render_people(request, {"duty": problem}, status=409)
    code = "web_done_on_duty" if is_on else "web_done_off_duty"
    return redirect(request, "/people", Notice(code=code, facts={"name": name}))


async def show_leave(request: Request) -> Response:
    """Show the things that end when somebody leaves, and the things to replace."""
    site, name = get_site(request), read_person(request)
    # it names all that a person may have touched
    get_visitor(request).require_everywhere(Permission.ADMINISTER)
    moment = await read_moment(get_visitor(request))
    user = await site.store.users.get(name)
    touched = await read_touched(site.store, site.settings, name, has_secrets=False)
    sessions, tokens = await site.store.sign_ins.count_valid(name)
    approved = [
        task
        for task in moment.waiting.tasks
        if any(one.person == name for one in task.status.counted)
    ]
    return await render_page(
        request,
        "people/leave",
        moment=moment,
        user=user,
        touched=touched,
        sessions=sessions,
        tokens=tokens,
        approved=approved,
    )


async def leave(request: Request) -> Response:
    """End all that a person can do; each secret to replace stays an alert until it is replaced."""
    require_administrator(request)
    site, name = get_site(request), read_person(request)
    touched = await read_touched(site.store, site.settings, name, has_secrets=False)
    departure = await site.store.users.leave(
        name, touched.secrets, get_visitor(request).actor
    )
    site.streams.end_user(name)
    facts = {
        "name": name,
        "number": len(departure.approvals),
        "secrets": len(touched.secrets),
    }
    return redirect(
        request, person_path(name), Notice(code="web_done_left", facts=facts)
    )
