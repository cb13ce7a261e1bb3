"""P9: rendering against the bare sandbox."""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from jinja2 import FileSystemLoader, StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from adapters.tieba.capabilities import CAPABILITIES
from publisher.domain.account import Account, AccountId, Platform
from publisher.domain.post import (
    ONCE_OCCURRENCE,
    OneTimeTrigger,
    Post,
    PostId,
    PostKind,
    RenderedPost,
    WarningLevel,
    make_occurrence,
)
from publisher.rendering import renderer
from publisher.rendering.child import RenderWorker
from publisher.rendering.markdown import body_text
from publisher.rendering.process import RenderProcess
from publisher.rendering.renderer import RenderTarget, compose
from publisher.rendering.templates import load_templates
from tests.bench.figures import Figure, in_turn
from tests.bench.rig import ROOT

TIMES = 500
ACCOUNTS = 50
TIEBA = Platform("tieba")
DUE = datetime(2027, 1, 5, 1, tzinfo=UTC)
ZONE = ZoneInfo("Asia/Shanghai")
REGION = {
    "name": "第一区",
    "police": "第一区公安局",
    "hotline": "110",
    "tip_line": "12377",
    "tip_link": "https://example.gov.cn/tips",
}
ACCOUNT = Account(id=AccountId("a0"), platform=TIEBA, identity="1", secret="a0", forum="第一区")
POST = Post(
    id=PostId("refund"),
    kind=PostKind.WARNING,
    template="warning",
    author="zhang",
    title="警惕“退款客服”诈骗",
    trigger=OneTimeTrigger(at=DUE),
    accounts=(),
    content_hash="",
    body="正规退款原路退回，不需要转账。自称客服要求转账退款的都是诈骗，请挂断并拨打报警电话。" * 10,
    level=WarningLevel.ORANGE,
    data={"summary": "凡自称客服要求转账退款的都是诈骗，请挂断"},
)


def p9(_publisher: Sequence[str], runs: int) -> list[Figure]:
    """Measure whole renderings in the process of their own, with all checks, against the same page in a bare sandbox.

    Each batch has the words of one post for fifty accounts.
    """
    templates = load_templates([ROOT / "templates"], RenderProcess())
    occurrence = make_occurrence(POST, ONCE_OCCURRENCE, DUE)
    order = RenderTarget(account=ACCOUNT, region=REGION, capabilities=CAPABILITIES, pictures=())

    def render() -> None:
        _body, rendered = compose(POST, occurrence, [order] * ACCOUNTS, templates, ZONE)
        assert all(isinstance(rendition, RenderedPost) for rendition in rendered)

    worker = RenderWorker()
    page = load_templates([ROOT / "templates"], worker).page_for(POST.template, TIEBA)
    assert page
    task = renderer.prepare(POST, occurrence, order, templates)
    assert isinstance(task, renderer.RenderContext)
    job = renderer.make_render_job(task, occurrence, ZONE)
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
