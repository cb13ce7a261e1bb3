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
from publisher.domain.rendition import marker_for
from publisher.rendering import composing, load_templates

TIMES = 500
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
    """Measure a whole rendering, with its checks, against the same page in Jinja2's own immutable sandbox."""
    templates = load_templates([ROOT / "templates"])
    occurrence = occurrence_of(POST, ONCE, DUE)
    page = templates.page(POST.template, TIEBA)
    assert page

    def render() -> object:
        return composing.render(
            POST, occurrence, ACCOUNT, region=REGION, pictures=(), traits=TRAITS, templates=templates, timezone=ZONE
        )

    bare_page = _bare(page.environment.filters).get_template(page.name or "")
    task = composing._Task(
        post=POST, account=ACCOUNT, region=REGION, traits=TRAITS, templates=templates, page=page, original=None
    )
    marker = marker_for(occurrence.key, ACCOUNT.id)
    variables = composing._variables(task, marker, composing.link_for(ACCOUNT, REGION, marker)) | {"due_at": DUE}
    ours, bare = in_turn(runs, lambda: _seconds(render), lambda: _seconds(lambda: bare_page.render(variables)))
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


def _seconds(action: Callable[[], object]) -> float:
    began = time.process_time()
    for _ in range(TIMES):
        action()
    return time.process_time() - began
