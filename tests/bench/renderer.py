"""P9: rendering against the bare sandbox."""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from jinja2 import FileSystemLoader, StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from adapters.tieba.capabilities import CAPABILITIES
from publisher.domain.account import Account, AccountId, Platform
from publisher.domain.kinds import PostKind
from publisher.domain.post import (
    ONCE_OCCURRENCE,
    OneTimeTrigger,
    Post,
    PostId,
    RenderedPost,
    WarningLevel,
    make_occurrence,
)
from publisher.rendering.child import RenderWorker
from publisher.rendering.markdown import body_text
from publisher.rendering.process import RenderProcess
from publisher.rendering.renderer import (
    RenderContext,
    RenderRequest,
    RenderTarget,
    compose,
    make_render_job,
    prepare,
)
from publisher.rendering.templates import load_templates
from tests.bench.figures import BenchOptions, Figure, RunCost, measure_in_turn
from tests.bench.workspace import ROOT

ACCOUNTS = 50
BATCHES = 40
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
ACCOUNT = Account(
    id=AccountId("a0"), platform=TIEBA, identity="1", secret="a0", forum="第一区"
)
POST = Post(
    id=PostId("refund"),
    kind=PostKind.WARNING,
    template="warning",
    author="zhang",
    title="警惕“退款客服”诈骗",
    trigger=OneTimeTrigger(at=DUE),
    accounts=(),
    content_hash="",
    body="正规退款原路退回，不需要转账。自称客服要求转账退款的都是诈骗，请挂断并拨打报警电话。"
    * 10,
    level=WarningLevel.ORANGE,
    data={"summary": "凡自称客服要求转账退款的都是诈骗，请挂断"},
)


def p9(options: BenchOptions) -> Iterator[Figure]:
    """Measure whole renderings in the renderer's process against the same page in a bare sandbox.

    The renderer does all checks. Each batch has the texts of one post for fifty accounts.
    """
    batches = options.choose(BATCHES, 2)
    renders = batches * ACCOUNTS
    templates = load_templates([ROOT / "templates"], RenderProcess())
    occurrence = make_occurrence(POST, ONCE_OCCURRENCE, DUE)
    target = RenderTarget(
        account=ACCOUNT, region=REGION, capabilities=CAPABILITIES, pictures=()
    )

    request = RenderRequest(
        post=POST, occurrence=occurrence, targets=[target] * ACCOUNTS
    )

    def render_batches() -> None:
        for _ in range(batches):
            [(_body, rendered)] = compose([request], templates, ZONE)
            if not all(isinstance(item, RenderedPost) for item in rendered):
                raise AssertionError(rendered)

    worker = RenderWorker()
    page = load_templates([ROOT / "templates"], worker).page_for(
        POST.template, TIEBA, target.capabilities
    )
    context = prepare(POST, occurrence, target, templates, ZONE)
    assert page is not None
    assert isinstance(context, RenderContext)
    job = make_render_job(context, occurrence, ZONE, body_text(POST.body))
    variables = {**job.variables, "body": POST.body}
    bare_page = bare_sandbox(worker._sandbox.filters).get_template(page)

    def render_bare() -> None:
        for _ in range(renders):
            bare_page.render(variables)

    render_batches()  # starts the renderer's process
    ours, bare = measure_in_turn(
        options.runs,
        lambda: RunCost.measure(render_batches, with_children=True),
        lambda: RunCost.measure(render_bare),
    )
    yield Figure(
        id="P9",
        name="renders per CPU second against a bare sandbox",
        value=bare.processor_seconds / ours.processor_seconds,
        goal=0.5,
        is_minimum=True,
        parts={
            "CPU us a render": ours.processor_seconds / renders * 1e6,
            "CPU us a bare render": bare.processor_seconds / renders * 1e6,
            "renders/s": renders / ours.seconds,
            "bare renders/s": renders / bare.seconds,
        },
    )


def bare_sandbox(
    filters: Mapping[str, Callable[..., object]],
) -> ImmutableSandboxedEnvironment:
    """Return Jinja's immutable sandbox with the filters of ours."""
    sandbox = ImmutableSandboxedEnvironment(
        loader=FileSystemLoader(ROOT / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    sandbox.filters.update(filters)
    return sandbox
