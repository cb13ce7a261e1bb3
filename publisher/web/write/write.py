"""Write and edit a post: the form with its live check, drafts, and the save into schedule.toml."""

import asyncio
import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from publisher.domain.delivery import MAYBE_PUBLISHED_STATES
from publisher.domain.errors import (
    NoSuchItemError,
    Problem,
    RefusedError,
    SignInError,
)
from publisher.domain.kinds import PostKind
from publisher.domain.post import (
    MEMBER_MARK,
    ONCE_OCCURRENCE,
    PostId,
    WarningLevel,
)
from publisher.domain.user import Permission
from publisher.engine.post_change import (
    EditConflict,
    EditResult,
    InvalidEdit,
    PostChange,
    SavedEdit,
    ScheduleText,
    Writer,
    find_accounts,
)
from publisher.engine.post_check import check_entry
from publisher.engine.schedule_editor import (
    number_id,
    read_entry,
    read_schedule_text,
    save_post,
    wait_until_accepted,
)
from publisher.schedule.cron import mark_day
from publisher.schedule.edit import (
    Entry,
    edit_block,
    find_block,
    find_post_spans,
)
from publisher.store.people.drafts import make_draft_id
from publisher.web.kit.page import redirect, render, render_page
from publisher.web.kit.preview import (
    choose_texts,
    list_choices,
    measure_title,
    split_overflow,
)
from publisher.web.kit.recipients import count_recipients, list_own_recipients
from publisher.web.kit.site import Notice, Site, Visitor, get_site, get_visitor
from publisher.web.write.data_fields import (
    draw_region,
    find_sample,
    follow_kind,
    list_checkers,
    list_samples,
    read_field_values,
    sign_form,
)
from publisher.web.write.draft_form import (
    NEW_DRAFT,
    digest_typed,
    keep_draft,
    name_drafts,
    settle,
)
from publisher.web.write.library import add_chosen, show_library
from publisher.web.write.notes import (
    TIME_KEYS,
    describe_problem,
    find_clashes,
    find_day_off,
    find_remarks,
    list_lacking,
    list_note_keys,
    place_notes,
)
from publisher.web.write.originals import choose_followed, list_originals
from publisher.web.write.post_form import (
    EXPIRIES,
    MAX_DELAYS,
    REPEATS,
    choose_expiry,
    dump_entry,
    fill_form,
    fill_regions,
    first,
    load_entry,
    require_length_of_post,
    require_number_of_values,
    show_value,
    suggest_id,
    suggest_time,
)
from publisher.web.write.post_form import read_entry as read_form
from publisher.web.write.region_words import (
    fill_shown_regions,
    leave_out_regions,
    list_shown_regions,
    list_unshown,
    name_regions,
    take_member,
)
from publisher.web.write.renditions import article_response
from publisher.web.write.rewrite import (
    REFUSED,
    choose_refused,
    find_excess,
    list_refusals,
)
from publisher.web.write.typed_fields import Fields
from publisher.web.write.uploads import (
    describe_failure,
    has_upload,
    keep_upload,
    move_picture,
    read_rows,
)

NOT_YOURS = Problem(code="web_write_not_yours", facts={"field": "to"})
HIDDEN_FIELDS = ("draft", "base", "base_sha256", "like", "like_hash", "only", "tried")
"""Fields of the form that are no part of the post."""
FRONT_KEYS = frozenset(
    {"", "kind", "follows", "template", "title", "body", "when", "to"}
)
"""The fields that are not among the further ones, which stand folded."""
ACCEPTED_WITHIN_SECONDS = 8.0
"""How long a save waits until the daemon has put it in force, so that the next page can show it."""
INCOMPLETE_CODES = frozenset(
    {"blank", "missing_key", "no_time", "template_data_missing", "follows_missing"}
)
"""An unfilled field is no problem until somebody tries to save."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """The content of a request, and the post that it makes of `base`. Without a base it is new.

    `suggested_id` is made from the title if nobody has chosen an id. The entry's id has a number if
    it is taken.
    """

    fields: Fields
    base: Entry
    entry: Mapping[str, Any]
    suggested_id: str = ""

    @property
    def draft(self) -> str:
        return first(self.fields, "draft")

    @property
    def kept_draft(self) -> str:
        """The draft that the page has, or gets with a check that is under way."""
        return self.draft or first(self.fields, NEW_DRAFT)

    @property
    def is_new(self) -> bool:
        return not self.base

    @property
    def edited(self) -> str:
        """The post that the form changes; empty for a new one."""
        return str(self.base.get("id", ""))

    @property
    def is_tried(self) -> bool:
        return bool(first(self.fields, "tried"))


async def read_sent_form(request: Request) -> Form:
    """Return the form of a request. Pictures sent with it are kept, and named in it."""
    fields: dict[str, list[str]] = {}
    async with request.form() as sent:
        for name, value in sent.multi_items():
            if isinstance(value, str):
                fields.setdefault(name, []).append(value)
        require_length_of_post(fields)
        for name, value in sent.multi_items():
            if name == "picture" and not isinstance(value, str) and value.filename:
                await keep_upload(
                    request, value, fields, str(sent.get("picture_alt", ""))
                )
    move_picture(fields)
    await add_chosen(request, fields)
    return await make_form(request, fields)


async def make_form(request: Request, fields: Fields) -> Form:
    """Return the form of these fields: a thread reads them, as they may be long."""
    site, visitor = get_site(request), get_visitor(request)
    planner, zone = site.application.planner, site.settings.timezone

    def read() -> tuple[Entry, dict[str, Any]]:
        base = load_entry(first(fields, "base")) if first(fields, "base") else {}
        entry = read_form(fields, base, samples, zone, visitor.user.name)
        if base:
            entry["id"] = base.get("id", "")
        require_number_of_values(entry)
        return base, settle(entry, base, fields)

    samples = list_samples(site)
    fields = follow_kind(fields, samples)
    if first(fields, "do") != "save":  # nobody signs what they have not seen
        fields = sign_form(fields, samples, visitor.user.name)
    fields = choose_expiry(fields, planner.now.astimezone(zone))
    base, entry = await asyncio.to_thread(read)
    suggested = ""
    if not base and not entry.get("id"):
        suggested = suggest_id(
            str(entry.get("title", "")), planner.now.astimezone(zone)
        )
        entry["id"] = number_id(
            suggested, await site.store.queries.post_ids_from(suggested)
        )
    return Form(fields=fields, base=base, entry=entry, suggested_id=suggested)


async def show_write(request: Request) -> Response:
    """Show the empty form, or one with its user's input."""
    site, visitor = get_site(request), get_visitor(request)
    draft_id = str(request.path_params.get("draft", ""))
    if draft_id:
        draft = await site.store.drafts.get(draft_id, visitor.user.name)
        fields = {**json.loads(draft.content), "draft": [draft.id]}
        return await show_form(
            request, await make_form(request, fields), saved_at=draft.updated_at
        )
    fields = suggest_fields(request)
    if fields["follows"][0] and fields["to"] == ["all"]:
        original = PostId(fields["follows"][0])
        fields |= {"to": [*await choose_followed(visitor, original)]}
    if like := request.query_params.get("like"):
        fields |= await copy_fields(request, PostId(like))
        if request.query_params.get("only") == REFUSED:
            to = await choose_refused(request, PostId(like))
            fields |= {"to": to, "only": [REFUSED]}
    signed = sign_form(fields, list_samples(site), visitor.user.name)
    fields = {**signed, "start": [digest_typed(signed)]}
    return await show_form(request, await make_form(request, fields))


def suggest_fields(request: Request) -> dict[str, list[str]]:
    """Return the start of a new form: a warning for all accounts that the visitor may write for."""
    site, visitor, query = get_site(request), get_visitor(request), request.query_params
    kind = query.get("kind", "")
    kind = kind if kind in set(PostKind) else PostKind.WARNING
    targets = sorted({name for grant in visitor.user.grants for name in grant.targets})
    is_approved = bool(site.store.approval_rules.chain_for(kind))
    is_everywhere = visitor.may_everywhere(Permission.WRITE)
    original, _, region = query.get("follows", "").partition(MEMBER_MARK)
    if region in site.settings.regions:
        targets, is_everywhere = [f"region:{region}"], False
    return {
        "kind": [kind],
        "follows": [original],
        "when": ["asap" if is_approved else "once"],
        "to": ["all"] if is_everywhere else targets,
        "repeat": ["mon"],
        **suggest_time(site.runtime.now().astimezone(site.settings.timezone)),
    }


async def copy_fields(request: Request, post: PostId) -> dict[str, list[str]]:
    """Return the fields of an earlier post, for a new one like it. Raises NoSuchItemError."""
    site, visitor = get_site(request), get_visitor(request)
    schedule, entry = await read_visible_entry(request, post)
    stored = await site.store.posts.get_post(post) if schedule.is_valid else None
    if MEMBER_MARK in post:
        await visitor.require_visible(post)
        entry = take_member(entry, post)
    left_out = {"id", "at", "expires", "author"}
    if request.query_params.get("only") == REFUSED:
        left_out |= TIME_KEYS
    visible = leave_out_regions(visitor, entry)
    if MEMBER_MARK in post and stored is not None:
        visible = {**visible, "to": [*stored.accounts]}
    kept = {key: value for key, value in visible.items() if key not in left_out}
    return {
        **fill_form(kept, site.settings.timezone, list_samples(site)),
        **fill_regions(kept, find_sample(site, kept)),
        "like": [post],
        "like_hash": [stored.content_hash if stored else ""],
    }


async def read_visible_entry(
    request: Request, post: PostId
) -> tuple[ScheduleText, Entry]:
    """Return the schedule and one post of it.

    Raises NoSuchItemError, also for one outside the visitor's accounts.
    """
    planner = get_site(request).application.planner
    schedule = await read_schedule_text(
        planner, get_site(request).settings.schedule_file
    )
    visitor = get_visitor(request)
    try:
        entry = await read_entry(schedule, post)
    except RefusedError:  # nobody knows from the text for which accounts it is
        await visitor.require_visible(post)
        raise
    if not visitor.sees_any(find_accounts(entry, planner.schedule_context)):
        raise NoSuchItemError("post", post)
    return schedule, entry


async def read_own_entry(request: Request, post: PostId) -> tuple[ScheduleText, Entry]:
    """Return the schedule and one post of it, to change or remove it.

    Raises NoSuchItemError, also for one with words for regions that the visitor does not see.
    """
    schedule, entry = await read_visible_entry(request, post)
    if leave_out_regions(get_visitor(request), entry) != entry:
        raise NoSuchItemError("post", post)
    return schedule, entry


async def show_edit(request: Request) -> Response:
    """Show a post of schedule.toml in the form."""
    schedule, base = await read_own_entry(
        request, PostId(str(request.path_params["post"]))
    )
    fields = fill_edit(get_site(request), schedule, base)
    return await show_form(request, await make_form(request, fields))


def fill_edit(site: Site, schedule: ScheduleText, base: Entry) -> Fields:
    """Return the fields of the form for a post of the schedule, as it is there."""
    fields = fill_form(base, site.settings.timezone, list_samples(site))
    return {
        **fields,
        "start": [digest_typed(fields)],
        "base": [dump_entry(base)],
        "base_sha256": [schedule.sha256],
    }


async def show_form(  # noqa: PLR0913 # what the page shows besides the form
    request: Request,
    form: Form,
    *,
    status: int = 200,
    refused: InvalidEdit | EditConflict | None = None,
    saved_at: datetime | None = None,
    lane: Mapping[str, Any] | None = None,
) -> Response:
    """Return the page of a form. `refused` has a save's problems; without one the form is checked.

    With a `lane` it is the short form of an emergency.
    """
    site, visitor = get_site(request), get_visitor(request)
    invalid = refused if isinstance(refused, InvalidEdit) else None
    async with site.render_turns.take(visitor.user.name):
        values = await read_live_values(
            request, form, refused=invalid, saved_at=saved_at
        )
    is_empty = form.is_new and not form.draft and not form.is_tried
    drafts = await site.store.drafts.list(visitor.user.name) if is_empty else ()
    values |= {
        "kinds": list(PostKind),
        "levels": list(WarningLevel),
        "shows_level": "level" in form.entry
        or "\nlevel = " in (await site.store.posts.active_schedule_text() or ""),
        "repeats": REPEATS,
        "max_delays": MAX_DELAYS,
        "expiries": EXPIRIES,
        "originals": await list_originals(
            visitor, str(form.base.get("id", "")), first(form.fields, "follows")
        ),
        "refusals": await list_refusals(request, PostId(first(form.fields, "like")))
        if first(form.fields, "only")
        else {},
        "recipients": list_own_recipients(site, visitor),
        "platforms": sorted(
            {account.platform for account in site.settings.accounts.values()}
        ),
        "drafts": name_drafts(visitor, drafts),
        NEW_DRAFT: first(form.fields, NEW_DRAFT) or make_draft_id(),
        "elsewhere": [
            visitor.messages.format_problem(item)
            for item in (invalid.elsewhere if invalid else ())
        ],
        "shown_regions": list_shown_regions(form.fields),
        "zone_name": site.settings.timezone.key,
        "was_sent": not form.is_new and await was_sent(visitor, form.base),
        "lane": lane,
    }
    return await render_page(
        request,
        "write/write" if lane is None else "write/urgent",
        status=status,
        **values,
    )


async def was_sent(visitor: Visitor, entry: Entry) -> bool:
    """Return True if a one-off post is or may be published: an edit does not change it there."""
    queries, post = visitor.site.store.queries, PostId(str(entry.get("id", "")))
    posts = await queries.find_posts(post) if entry.get("region") else [post]
    found = [
        await queries.deliveries(post) for post in await visitor.find_visible(posts)
    ]
    return any(
        item.state in MAYBE_PUBLISHED_STATES and item.key.occurrence == ONCE_OCCURRENCE
        for deliveries in found
        for item in deliveries
    )


async def read_live_values(
    request: Request,
    form: Form,
    *,
    refused: InvalidEdit | None = None,
    saved_at: datetime | None = None,
) -> dict[str, Any]:
    """Return the live values of a form: problems by field, room by platform, previews, draft."""
    site, visitor = get_site(request), get_visitor(request)
    form = replace(form, fields=fill_shown_regions(site, form.entry, form.fields))
    check = await check_entry(
        site.application.planner,
        form.entry,
        visitor.reach(Permission.VIEW),
        is_new=form.is_new,
    )
    if check.post is not None and not visitor.may(
        Permission.WRITE, check.post.accounts
    ):
        check = replace(check, problems=[*check.problems, NOT_YOURS])
    found = list(check.problems)
    if refused is not None and refused.own:
        found = [
            *refused.own,
            *(problem for problem in check.problems if not problem.is_error),
        ]
    shown = [
        problem
        for problem in found
        if form.is_tried or problem.code not in INCOMPLETE_CODES
    ]
    due = (check.due_at or site.runtime.now()).astimezone(site.settings.timezone)
    drawn = read_field_values(visitor, form.fields, form.entry, check, due.date())
    front_keys = FRONT_KEYS | {
        f"data.{each.key}" for each in drawn["data_fields"] if not each.is_more
    }
    region_fields = {
        code: draw_region(visitor, form.fields, form.entry, code, due.date())
        for code in list_shown_regions(form.fields)
    }
    data_keys = [each.key for each in drawn["data_fields"]]
    note_keys = list_note_keys(site, data_keys, region_fields)
    notes = place_notes(visitor, shown, note_keys)
    if (picture := getattr(request.state, "picture_problem", None)) is not None:
        notes.setdefault("images", []).append(describe_problem(visitor, picture))
    if check.post is not None and first(form.fields, "when") == "once":
        notes.setdefault("when", []).extend(await find_clashes(visitor, check))
        notes["when"].extend(await asyncio.to_thread(find_day_off, visitor, check))
    kind = str(form.entry.get("kind", ""))
    chain = site.store.approval_rules.chain_for(kind)
    texts, seen = choose_texts(form.fields, check), set(form.fields.get("seen", ()))
    for room in check.rooms:
        if room.capabilities.is_article:
            site.articles.keep(
                visitor.user.name, texts[room.platform], check.result.media
            )
    return {
        "form": form,
        "pictures": [*enumerate(await read_rows(site, form.fields), 1)],
        "remarks": await find_remarks(visitor, form.edited, form.entry),
        "added": getattr(request.state, "added_pictures", ()),
        "region_fields": region_fields,
        "value": partial(first, form.fields),
        "values": lambda name: form.fields.get(name, ()),
        "notes": notes,
        "errors": sum(note["is_error"] for field in notes.values() for note in field),
        "warnings": sum(
            not note["is_error"] and note["key"] not in seen
            for field in notes.values()
            for note in field
        ),
        "check": check,
        "recipient_counts": await count_recipients(visitor, form.entry.get("to")),
        "shown": texts,
        "regions": name_regions(site, visitor, form.entry),
        "unshown": list_unshown(site, visitor, form.entry, check.result.rendered_posts),
        "lacking": list_lacking(
            visitor, form.entry, drawn["data_fields"], check.problems
        ),
        "checkers": await list_checkers(visitor, drawn["data_fields"])
        if form.is_new
        else (),
        "choices": list_choices(visitor.site.settings, visitor.messages, check),
        "title_room": measure_title(check, str(form.entry.get("title", ""))),
        "split_overflow": split_overflow,
        "chain": chain,
        "lacks_two": kind in set(PostKind)
        and site.store.approval_rules.lacks_second(PostKind(kind)),
        "diff": await asyncio.to_thread(read_diff, form),
        "saved_at": saved_at,
        "account_name": partial(name_account, site),
        "next_days": [
            (at, mark_day(at.astimezone(site.settings.timezone).date()))
            for at in check.next_times
        ],
        "note_keys": note_keys,
        "more_notes": [key for key in notes if key not in front_keys],
        **drawn,
    }


def read_diff(form: Form) -> Sequence[str]:
    """Return the lines of schedule.toml that a save changes."""
    if form.is_new:
        return [f"+{line}" for line in dump_entry(form.entry).splitlines()]
    text = dump_entry(form.base)
    block = find_block(text, find_post_spans(text), str(form.base.get("id", "")))
    return edit_block(text, block, form.entry).diff if block is not None else ()


def name_account(site: Site, account: str) -> str:
    """Return the name of an account in a preview: the agency of its region."""
    found = next(
        (item for key, item in site.settings.accounts.items() if key == account), None
    )
    facts = (
        site.settings.regions.get(found.region or "", {}) if found is not None else {}
    )
    return str(facts.get("police") or account)


async def check_form(request: Request) -> Response:
    """Check the typed content so far, keep it as a draft, and return the changed parts of the page.

    Nothing is returned if the user has left the page, or has typed on, in this form or another,
    before the renderer was free. A new picture is returned in any case.
    """
    form = await read_sent_form(request)
    saved_at, draft_id, refusal = None, form.draft, ""
    has_picture, has_left = has_upload(request), bool(first(form.fields, "leaving"))
    try:
        saved_at, draft_id = await keep_draft(
            request, form.fields, form.edited, is_awaited=has_picture or has_left
        )
    except RefusedError as error:
        refusal = get_visitor(request).messages.translate(error.code, **error.facts)
    if has_left:
        return Response(status_code=204)
    turns, user = get_site(request).render_turns, get_visitor(request).user.name
    async with turns.take(user, is_replaceable=not has_picture) as has_turn:
        if not has_turn:
            return Response(status_code=204)
        values = await read_live_values(request, form, saved_at=saved_at)
    page = render(
        get_visitor(request),
        "write/write_live.html",
        draft_id=draft_id,
        draft_refusal=refusal,
        **values,
    )
    return HTMLResponse(page)


async def save_form(request: Request) -> Response:
    """Save the post into schedule.toml, or show the obstacles with all typed content."""
    form = await read_sent_form(request)
    form = replace(form, fields={**form.fields, "tried": ["1"]})
    action = first(form.fields, "do")
    if action == "library":
        return await show_library(request, form.fields, form.edited)
    if action in {"refresh", "draft", "choose", "region"} or first(form.fields, "move"):
        return await show_again(request, form)
    if getattr(request.state, "picture_problem", None) is not None:
        return await show_form(request, form, status=422)
    try:
        original = await find_original(request, form)
        if (excess := await find_excess_of(request, form)) is not None:
            refused = InvalidEdit(own=[excess])
            return await show_form(request, form, status=422, refused=refused)
        change = replace(
            make_change(form),
            copied_from=original,
            copied_hash=first(form.fields, "like_hash"),
            is_repair=first(form.fields, "only") == REFUSED,
        )
        result = await save_change(request, change)
    except SignInError:  # for the accounts that the post has, or had before
        return await show_form(
            request, form, status=422, refused=InvalidEdit(own=[NOT_YOURS])
        )
    except (RefusedError, OSError) as error:
        return await show_form(
            request,
            form,
            status=409,
            refused=InvalidEdit(own=[describe_failure(error)]),
        )
    return await show_result(request, form, result)


async def show_again(request: Request, form: Form) -> Response:
    """Keep the form as a draft and show it again: a part of it has changed."""
    form = replace(form, fields={**form.fields, "tried": []})
    is_wanted = first(form.fields, "do") == "draft"
    try:
        saved_at, draft = await keep_draft(
            request, form.fields, form.edited, is_awaited=True
        )
    except RefusedError as error:
        refused = InvalidEdit(own=[describe_failure(error)])
        return await show_form(request, form, status=409, refused=refused)
    form = replace(form, fields={**form.fields, "draft": [draft]})
    if is_wanted and not draft:
        refused = InvalidEdit(own=[Problem(code="web_write_draft_empty")])
        return await show_form(request, form, status=422, refused=refused)
    if is_wanted:
        done = Notice(code="web_write_draft_kept")
        return redirect(request, f"/write/{draft}", done)
    if draft and first(form.fields, "do") == "region":
        code = first(form.fields, "region_code")
        return redirect(request, f"/write/{draft}#f-region.{code}")
    if draft and (has_upload(request) or first(form.fields, "move")):
        return redirect(request, f"/write/{draft}#f-images")
    return await show_form(request, form, saved_at=saved_at)


def make_change(form: Form) -> PostChange:
    return PostChange(
        post=PostId(form.suggested_id or str(form.entry.get("id", ""))),
        entry=form.entry,
        base=form.base or None,
        base_sha256=first(form.fields, "base_sha256"),
        is_id_suggested=bool(form.suggested_id),
    )


async def find_original(request: Request, form: Form) -> PostId | None:
    """Return the post that a new one copies; None also for one outside the visitor's accounts."""
    like = PostId(first(form.fields, "like"))
    if not (form.is_new and like):
        return None
    stored = await get_site(request).store.posts.get_post(like)
    return (
        like
        if stored is None or get_visitor(request).sees_any(stored.accounts)
        else None
    )


async def find_excess_of(request: Request, form: Form) -> Problem | None:
    """Return what is wrong with the recipients of a copy for refused accounts alone."""
    if not (form.is_new and first(form.fields, "only") == REFUSED):
        return None
    return await find_excess(request, form.entry, PostId(first(form.fields, "like")))


async def save_change(request: Request, change: PostChange) -> EditResult:
    """Save one post for the visitor, once the renderer is theirs.

    Raises the errors of `save_post`.
    """
    site, visitor = get_site(request), get_visitor(request)
    async with site.render_turns.take(visitor.user.name, is_save=True):
        return await save_post(
            site.application.planner,
            site.settings.schedule_file,
            change,
            make_writer(visitor),
        )


def make_writer(visitor: Visitor) -> Writer:
    """Return the visitor as a writer."""
    return Writer(
        actor=visitor.actor,
        may_write=lambda accounts: visitor.may(Permission.WRITE, accounts),
        may_target=lambda names: visitor.principal.may_target(
            Permission.WRITE, names, visitor.site.members
        ),
        reach=visitor.reach(Permission.VIEW),
    )


async def show_result(
    request: Request, form: Form, result: SavedEdit | EditConflict | InvalidEdit
) -> Response:
    """Show the result of a save."""
    site, visitor = get_site(request), get_visitor(request)
    match result:
        case InvalidEdit():
            with contextlib.suppress(
                RefusedError
            ):  # the form itself is shown again in any case
                _saved_at, draft = await keep_draft(
                    request, form.fields, form.edited, is_awaited=True
                )
                form = replace(form, fields={**form.fields, "draft": [draft]})
            return await show_form(request, form, status=422, refused=result)
        case EditConflict():
            return await show_conflict(request, form, result)
        case SavedEdit():
            if form.kept_draft:
                await site.store.drafts.delete(form.kept_draft, visitor.user.name)
            is_accepted = await wait_until_accepted(
                site.store, result, ACCEPTED_WITHIN_SECONDS
            )
            following = f"/posts/{result.id}" if is_accepted else "/today"
            return redirect(
                request, following, describe_save(site, form, is_accepted=is_accepted)
            )


def describe_save(site: Site, form: Form, *, is_accepted: bool) -> Notice:
    facts = {"title": str(form.entry.get("title", "")), "stages": ""}
    if not is_accepted:
        return Notice(code="web_write_done_waiting", facts=facts)
    chain = site.store.approval_rules.chain_for(str(form.entry.get("kind", "")))
    if not chain:
        return Notice(code="web_write_done_planned", facts=facts)
    return Notice(
        code="web_write_done_sent",
        facts={**facts, "stages": "、".join(stage.name for stage in chain)},
    )


async def show_conflict(
    request: Request, form: Form, conflict: EditConflict
) -> Response:
    """Show the conflicting wishes of two people, field by field. Equal fields are not shown."""
    site = get_site(request)
    saver = await site.store.saves.last_saver(PostId(str(form.entry.get("id", ""))))
    kept = {
        name: values
        for name, values in form.fields.items()
        if name not in {"base", "base_sha256", "do"}
    }
    kept = {
        name: values for name, values in kept.items() if not name.startswith("pick.")
    }
    if conflict.theirs is None:
        kept["id"] = [str(form.base.get("id", ""))]  # it comes back as the same post
    base = dump_entry(conflict.theirs) if conflict.theirs is not None else ""
    return await render_page(
        request,
        "write/write_conflict",
        status=409,
        form=form,
        conflict=conflict,
        saver=saver,
        kept=kept,
        base=base,
        show_value=show_value,
    )


async def show_article(request: Request) -> Response:
    """Show an article that the visitor has just previewed, in a frame."""
    user = get_visitor(request).user.name
    return article_response(
        *get_site(request).articles.get(user, str(request.path_params["fingerprint"]))
    )
