"""Give several posts another time at once: by some days, or all to one day."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response

from publisher.domain.account import AccountId
from publisher.domain.errors import NoSuchItemError, RefusedError
from publisher.domain.post import PostId
from publisher.domain.user import Permission
from publisher.engine.post_change import EditConflict, SavedEdit
from publisher.engine.schedule_editor import wait_until_accepted
from publisher.web.kit.bulk import BulkError, do_each, explain_refusal, read_ticked
from publisher.web.kit.forms import read_number
from publisher.web.kit.page import redirect, render_page
from publisher.web.kit.site import Visitor, get_site, get_visitor
from publisher.web.write.move import count_ending, read_local
from publisher.web.write.post_form import fill_instant, first
from publisher.web.write.uploads import describe_failure
from publisher.web.write.write import (
    ACCEPTED_WITHIN_SECONDS,
    Form,
    fill_edit,
    make_change,
    make_form,
    read_own_entry,
    save_change,
    was_sent,
)

MAX_MOVED = 30
"""Each is rendered and saved by itself, while its person waits."""
MAX_DAYS, MAX_DIGITS = 366, 3


@dataclass(frozen=True, slots=True, kw_only=True)
class PostMove:
    """A post, the time that was shown of it, and its new time, in the workspace's zone.

    `ending` approvals end with it.
    """

    post: PostId
    title: str
    was: datetime
    at: datetime
    form: Form
    ending: int = 0

    @property
    def item(self) -> str:
        """Its value in the form: what was seen of it."""
        return f"{self.post} {self.was.isoformat()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """By how many days, or else to which day, posts are moved. Their time of day stays."""

    days: int = 0
    day: date | None = None

    def apply(self, was: datetime) -> datetime:
        if self.day is None:
            return was + timedelta(days=self.days)
        return datetime.combine(self.day, was.time())


def read_shift(form: FormData) -> Shift | None:
    """Return the shift that was chosen; None if it moves nothing."""
    text = str(form.get("day", "")).strip()
    if text:
        try:
            return Shift(day=date.fromisoformat(text))
        except ValueError:
            return None
    days = str(form.get("days", "")).strip()
    number = days.removeprefix("-")
    is_number = number.isascii() and number.isdecimal() and len(number) <= MAX_DIGITS
    if not is_number or not 0 < int(number) <= MAX_DAYS:
        return None
    return Shift(days=int(days))


async def plan_move(
    request: Request, item: str, shift: Shift | None, *, counts: bool = False
) -> PostMove:
    """Return the move of a ticked post. `item` may have the time that its form has shown.

    Raises NoSuchItemError, SignInError, and RefusedError for a post that cannot be moved, or that
    has another time by now.
    """
    site, visitor = get_site(request), get_visitor(request)
    zone = site.settings.timezone
    name, _space, seen = item.partition(" ")
    post = PostId(name.partition("#")[0])
    schedule, base = await read_own_entry(request, post)
    visitor.require(Permission.WRITE, await find_accounts_of(visitor, post))
    fields, at = fill_edit(site, schedule, base), base.get("at")
    if first(fields, "when") != "once" or not isinstance(at, datetime):
        raise RefusedError("web_bulk_move_no_time")
    if await was_sent(visitor, base):
        raise RefusedError("web_bulk_move_sent")
    title = str(base.get("title", post))
    was = (at.astimezone(zone) if at.tzinfo else at).replace(tzinfo=None)
    if seen and read_local(seen) != was:
        raise RefusedError("web_move_changed", title=title)
    try:
        moved = was if shift is None else shift.apply(was)
    except OverflowError:
        raise RefusedError("web_bulk_move_refused") from None
    changed = {**fields, **fill_instant("at", moved, zone), "tried": ["1"]}
    form = await make_form(request, changed)
    ending = await count_ending(visitor, form) if counts else 0
    return PostMove(post=post, title=title, was=was, at=moved, form=form, ending=ending)


async def find_accounts_of(visitor: Visitor, post: PostId) -> Collection[AccountId]:
    """Return the accounts of a filed post, for the permission; none of one that is not filed."""
    deliveries = await visitor.site.store.queries.deliveries(post)
    return {item.account for item in deliveries}


async def plan_moves(
    request: Request, items: Sequence[str], shift: Shift | None, *, counts: bool = False
) -> tuple[Sequence[PostMove], Sequence[str]]:
    """Return the moves of the ticked posts, and which of the others cannot be moved, and why.

    Raises the reason of the first one if none can.
    """
    moves, left_out, errors = dict[PostId, PostMove](), list[str](), list[BulkError]()
    for item in items:
        try:
            move = await plan_move(request, item, shift, counts=counts)
            moves[move.post] = move
        except (NoSuchItemError, RefusedError) as error:
            errors.append(error)
            left_out.append(await explain_refusal(get_visitor(request), item, error))
    if not moves:
        raise errors[0]
    return list(moves.values()), left_out


def read_items(values: Sequence[object]) -> Sequence[str]:
    """Return what was ticked, each post once. Raises RefusedError for nothing, and for too much."""
    by_post = {
        item.partition(" ")[0].partition("#")[0]: item for item in read_ticked(values)
    }
    if len(by_post) > MAX_MOVED:
        raise RefusedError("web_bulk_many", limit=str(MAX_MOVED))
    return list(by_post.values())


async def show_moves(request: Request) -> Response:
    """Ask by how much the ticked posts are to be moved."""
    items = read_items(request.query_params.getlist("item"))
    moves, left_out = await plan_moves(request, items, None)
    return await _render(request, moves, left_out)


async def _render(
    request: Request,
    moves: Sequence[PostMove],
    left_out: Sequence[str],
    shift: Shift | None = None,
    problem: str = "",
) -> Response:
    """Show the form of several moves; with a shift, the new times and what they cost."""
    return await render_page(
        request,
        "write/bulk_move",
        status=422 if problem else 200,
        moves=moves,
        left_out=left_out,
        shift=shift,
        ending=sum(move.ending for move in moves),
        zone=get_site(request).settings.timezone,
        problem=problem,
    )


async def move_posts(request: Request) -> Response:
    """Move each shown post under the rules of the single move.

    The new times are shown first, with the approvals that end. Only what was shown is moved.
    """
    visitor, sent = get_visitor(request), await request.form()
    items, shift = read_items(sent.getlist("item")), read_shift(sent)
    if shift is None:
        moves, left_out = await plan_moves(request, items, None)
        problem = visitor.messages.translate("web_bulk_move_how")
        return await _render(request, moves, left_out, problem=problem)
    moves, left_out = await plan_moves(request, items, shift, counts=True)
    ending = sum(move.ending for move in moves)
    if left_out or "confirmed" not in sent or read_number(sent, "ending") != ending:
        return await _render(request, moves, left_out, shift)
    saved: list[SavedEdit] = []

    async def move(item: str) -> None:
        planned = await plan_move(request, item, shift)
        try:
            result = await save_change(request, make_change(planned.form))
        except OSError as error:
            problem = describe_failure(error)
            raise RefusedError(problem.code, **problem.facts) from error
        if isinstance(result, EditConflict):
            raise RefusedError("web_move_changed", title=planned.title)
        if not isinstance(result, SavedEdit):
            raise RefusedError("web_bulk_move_refused")
        saved.append(result)

    notice = await do_each(visitor, "web_bulk_moved", items, move)
    if saved:
        store = get_site(request).store
        await wait_until_accepted(store, saved[-1], ACCEPTED_WITHIN_SECONDS)
    return redirect(request, "/posts", notice)
