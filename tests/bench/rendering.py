"""P9: rendering against the bare sandbox."""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from figures import Figure, in_turn
from jinja2 import FileSystemLoader, StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from rig import ROOT

from adapters.tieba.traits import TRAITS
from publisher.domain.account import Account, AccountId, Platform
from publisher.domain.post import ONCE, At, Kind, Level, Post, PostId, occurrence_of
from publisher.domain.rendition import Rendition
from publisher.rendering import composing, load_templates
from publisher.rendering.body import body_text
from publisher.rendering.composing import Order, compose
from publisher.rendering.process import RenderProcess
from publisher.rendering.worker import Worker

TIMES = 500
ACCOUNTS = 50
TIEBA = Platform("tieba")
DUE = datetime(2027, 1, 5, 1, tzinfo=UTC)
ZONE = ZoneInfo("Asia/Shanghai")
REGION = {"name": "第一区", "hotline": "110", "tip_line": "12377", "tip_link": "https://example.gov.cn/tips"}
ACCOUNT = Account(id=AccountId("a0"), platform=TIEBA, identity="1", secret="a0", forum="第一区")
POST = Post(
    id=PostId("refund"),
    kind=Kind.WARNING,
    template="warning",
    author="zhang",
    title="警惕“退款客服”诈骗",
    timing=At(when=DUE),
    accounts=(),
    definition="",
    body="正规退款原路退回，不需要转账。自称客服要求转账退款的都是诈骗，请挂断并拨打报警电话。" * 10,
    level=Level.ORANGE,
    data={"summary": "凡自称客服要求转账退款的都是诈骗，请挂断"},
)


def p9(_publisher: Sequence[str], runs: int) -> list[Figure]:
    """Measure whole renderings in the process of their own, with all checks, against the same page in a bare sandbox.

    Each batch has the words of one post for fifty accounts.
    """
    templates = load_templates([ROOT / "templates"], RenderProcess())
    occurrence = occurrence_of(POST, ONCE, DUE)
    order = Order(account=ACCOUNT, region=REGION, traits=TRAITS, pictures=())

    def render() -> None:
        composition = compose(POST, occurrence, [order] * ACCOUNTS, templates, ZONE)
        assert all(isinstance(rendition, Rendition) for rendition in composition.renditions)

    worker = Worker()
    page = load_templates([ROOT / "templates"], worker).page(POST.template, TIEBA)
    assert page
    task = composing._task(POST, occurrence, order, templates)
    assert isinstance(task, composing._Task)
    job = composing._job(task, occurrence, ZONE)
    variables = {**job.variables, "body": POST.body, "body_text": body_text(POST.body)}
    bare_page = _bare(worker._sandbox.filters).get_template(page)
    times = TIMES // ACCOUNTS
    ours, bare = in_turn(
        runs, lambda: _seconds(render, times), lambda: _seconds(lambda: bare_page.render(variables), TIMES)
    )
    parts = {"renders/s": TIMES / ours, "bare renders/s": TIMES / bare}
    return [Figure(id="P9", name="renders/s / bare sandbox", value=bare / ours, goal=0.5, is_floor=True, parts=parts)]


def _bare(filters: dict[str, Callable[..., object]]) -> ImmutableSandboxedEnvironment:
    bare = ImmutableSandboxedEnvironment(
        loader=FileSystemLoader(ROOT / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    bare.filters.update(filters)
    return bare


def _seconds(action: Callable[[], object], times: int) -> float:
    began = time.perf_counter()
    for _ in range(times):
        action()
    return time.perf_counter() - began
