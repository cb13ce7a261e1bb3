"""Posts that are rendered together come out as if each had been rendered by itself."""

from dataclasses import replace
from zoneinfo import ZoneInfo

from publisher.domain.errors import Problem, TemplateError
from publisher.domain.post import ONCE_OCCURRENCE, PostId, make_occurrence
from publisher.rendering.child import RenderWorker
from publisher.rendering.jobs import ReadBody, RenderPage
from publisher.rendering.renderer import RenderRequest, RenderTarget, compose
from tests.unit.rendering.rendering_fixtures import (
    DUE,
    REGION,
    account_of,
    post_of,
    traits_of,
)

ZONE = ZoneInfo("Asia/Shanghai")
TARGETS = [
    RenderTarget(
        account=account_of(name),
        region=REGION,
        pictures=(),
        capabilities=traits_of(name),
    )
    for name in ("weibo", "tieba", "wechat")
]
TOO_MUCH = Problem(code="rendering_too_expensive")


class DyingRenderer(RenderWorker):
    """A renderer that fails at one body and records its jobs.

    The failure is as if the body had cost the process.
    """

    def __init__(self, files):
        super().__init__()
        self.load(files)
        self.jobs = []

    def run(self, jobs):
        self.jobs += jobs
        return [
            TOO_MUCH if getattr(job, "body", "") == "fatal" else self.run_job(job)
            for job in jobs
        ]


def request_of(number, **changes):
    post = replace(post_of(**changes), id=PostId(f"post-{number}"))
    return RenderRequest(
        post=post,
        occurrence=make_occurrence(post, ONCE_OCCURRENCE, DUE),
        targets=TARGETS,
    )


def plainly(composed):
    """Return texts with the problems in place of errors.

    Two errors with the same problems are not equal.
    """
    body_text, found = composed
    return body_text, [
        item.problems if isinstance(item, TemplateError) else item for item in found
    ]


def test_each_post_of_a_batch_gets_its_own_texts(shipped):
    """No result of a batch is another post's.

    The batch mixes bodies, empty ones, a missing value and an unknown template.
    """
    requests = [
        request_of(1, body="**第一**"),
        request_of(2, data={}),
        request_of(3),
        request_of(4, body="第四", template="nosuch"),
        request_of(5, body="第五"),
    ]
    together = [plainly(composed) for composed in compose(requests, shipped, ZONE)]
    alone = [
        plainly(composed)
        for request in requests
        for composed in compose([request], shipped, ZONE)
    ]
    assert together == alone
    assert [body_text for body_text, _found in together] == ["第一", "", "", "", "第五"]
    assert ["第一" in found[1].text for _body, found in together[::4]] == [True, False]


def test_f74_a_body_that_costs_the_process_costs_it_once(shipped):
    """F74: no page is rendered with such a body, and the other posts of the batch lose nothing."""
    renderer = DyingRenderer(shipped.renderer._files)
    requests = [request_of(1, body="fatal"), request_of(2, body="好")]
    fatal, good = compose(requests, replace(shipped, renderer=renderer), ZONE)
    assert [problem.code for item in fatal[1] for problem in item.problems] == [
        TOO_MUCH.code
    ] * len(TARGETS)
    assert plainly(good) == plainly(compose(requests[1:], shipped, ZONE)[0])
    assert [(type(job), job.body) for job in renderer.jobs] == [
        (ReadBody, "fatal"),
        (ReadBody, "好"),
        *[(RenderPage, "好")] * len(TARGETS),
    ]
