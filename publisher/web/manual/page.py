"""Posts to place by hand: the list, one task in three steps, and the report that it is done."""

from collections.abc import Collection, Mapping, Sequence

from starlette.requests import Request
from starlette.responses import Response

from publisher.domain.account import AccountId
from publisher.domain.delivery import State
from publisher.domain.errors import NoSuchItemError, RefusedError
from publisher.domain.post import OccurrenceKey, PostId
from publisher.domain.user import Permission
from publisher.store.db.rows import subject_of
from publisher.store.manual_tasks import OpenManualTask
from publisher.web.kit.forms import read_url, seen_state
from publisher.web.kit.live_parts import Parts, item_id, stream_path
from publisher.web.kit.page import load_macro, redirect, render_page
from publisher.web.kit.seats import name_accounts
from publisher.web.kit.site import Notice, Visitor, get_site, get_visitor
from publisher.web.posts.deliveries import delivery_path, find_simulated_page


async def list_tasks(visitor: Visitor) -> Sequence[OpenManualTask]:
    """Return the open tasks on the accounts that a visitor may see, earliest deadline first."""
    reach = visitor.reach(Permission.VIEW)
    tasks = await visitor.site.store.manual_tasks.list_open()
    return [task for task in tasks if reach is None or task.delivery.account in reach]


async def show_tasks(request: Request) -> Response:
    site, visitor = get_site(request), get_visitor(request)
    names, tasks = (
        name_accounts(site.settings, visitor.messages),
        await list_tasks(visitor),
    )
    stream = stream_path("assist", map(task_element, tasks))
    return await render_page(
        request,
        "manual/assist",
        stream=stream,
        tasks=tasks,
        names=names,
        task_element=task_element,
    )


def task_element(task: OpenManualTask) -> str:
    """Return the id of a task's card on the page."""
    return item_id("task", subject_of(task.delivery))


async def read_live(
    visitor: Visitor, _page: Mapping[str, str], _posts: Collection[PostId] | None
) -> Parts:
    """Return how many tasks there are, and each of them."""
    names, tasks = (
        name_accounts(visitor.site.settings, visitor.messages),
        await list_tasks(visitor),
    )
    make_card = load_macro(visitor, "manual/parts", "task_card")
    cards = {
        task_element(task): make_card(task, task_element(task), names) for task in tasks
    }
    sentence = load_macro(visitor, "manual/parts", "assist_sentence")(tasks)
    return Parts(fixed={"verdict": sentence}, items=cards, wanted=cards)


async def find_task(request: Request) -> OpenManualTask | None:
    """Return the open task of the path; None once it is over.

    Raises NoSuchItemError if there is no such delivery.
    """
    params = request.path_params
    key = OccurrenceKey(post=PostId(params["post"]), occurrence=params["occurrence"])
    account = AccountId(params["account"])
    for task in await list_tasks(get_visitor(request)):
        if (task.delivery.key, task.delivery.account) == (key, account):
            return task
    delivery = await get_site(request).store.occurrences.delivery(key, account)
    if delivery is None or not get_visitor(request).may(Permission.VIEW, [account]):
        raise NoSuchItemError("delivery", f"{key.post}@{account}")
    return None


async def show_task(request: Request) -> Response:
    task = await find_task(request)
    if task is None:
        params = request.path_params
        return redirect(
            request,
            f"/deliveries/{params['post']}/{params['occurrence']}/{params['account']}",
        )
    return await _render_task(request, task)


async def _render_task(
    request: Request, task: OpenManualTask, status: int = 200, problem: str = ""
) -> Response:
    site, visitor = get_site(request), get_visitor(request)
    account = task.delivery.account
    policy, known = (
        site.store.policies.get(account),
        site.settings.accounts.get(account),
    )
    posting_url = policy.capabilities.posting_url if policy is not None else None
    simulated = find_simulated_page(site.settings, known) if known is not None else ""
    return await render_page(
        request,
        "manual/assist_task",
        status=status,
        task=task,
        delivery=task.delivery,
        rendered=task.rendered,
        account=known,
        posting_url=(simulated or posting_url) if posting_url else "",
        is_article=policy is not None and policy.capabilities.is_article,
        name=name_accounts(site.settings, visitor.messages).name(account),
        place=visitor.formatter.sign_in_place(task.delivery.platform),
        task_path=delivery_path(task.delivery).replace("/deliveries/", "/assist/"),
        seen=seen_state(task.delivery),
        may_report=visitor.may(Permission.ASSIST, [account]),
        problem=problem,
    )


async def report_done(request: Request) -> Response:
    """Record that a person has posted it.

    Raises RefusedError if the task is over or has changed.
    """
    site, visitor, form = get_site(request), get_visitor(request), await request.form()
    params, task = request.path_params, await find_task(request)
    account = AccountId(params["account"])
    visitor.require(Permission.ASSIST, [account])
    if task is None:
        key = OccurrenceKey(
            post=PostId(params["post"]), occurrence=params["occurrence"]
        )
        delivery = await site.store.occurrences.delivery(key, account)
        # it was found before a person reported it
        if delivery is not None and delivery.state is State.PUBLISHED:
            return redirect(
                request, delivery_path(delivery), Notice(code="pages_assist_found")
            )
        raise RefusedError("changed_meanwhile", subject=f"{key.post}@{account}")
    if str(form.get("seen", "")) != seen_state(task.delivery):
        raise RefusedError(
            "changed_meanwhile", subject=f"{task.delivery.key.post}@{account}"
        )
    url = read_url(form)
    if not url:
        return await _render_task(
            request, task, 422, visitor.messages.translate("pages_url_needed")
        )
    await site.store.manual_tasks.record_report(task.delivery.id, url, visitor.actor)
    path = delivery_path(task.delivery).replace("/deliveries/", "/assist/")
    return redirect(request, path, Notice(code="pages_assist_recorded"))
