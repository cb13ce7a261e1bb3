"""The renderer's process: for any input it answers or is replaced, and it can reach nothing."""

import os
import select
import signal
import subprocess
import sys
import threading
from datetime import UTC, date, datetime, time
from io import BytesIO
from itertools import product
from pathlib import Path
from random import Random

import pytest

from publisher.domain.errors import Problem
from publisher.rendering import process
from publisher.rendering.child import RenderWorker
from publisher.rendering.jobs import (
    CleanedPicture,
    CleanPicture,
    CompilePage,
    InvalidResultError,
    PageCompiled,
    ReadBody,
    RenderedText,
    RenderPage,
    TemplateFiles,
    decode_batch,
    decode_result,
    encode_batch,
    encode_result,
    write_frame,
)
from publisher.rendering.markdown import MAX_CACHED_BODIES, body_html
from publisher.rendering.process import RendererClosedError, RenderProcess
from publisher.rendering.templates import load_templates, shipped_templates
from tests.unit.rendering.rendering_fixtures import post_of, render_for
from tests.unit.rendering.test_image_cleaner import PLAIN, PROFILE, TAGGED, encoded
from tests.unit.rendering.test_image_cleaner import scene as image
from tests.unit.rendering.test_images import drawn
from tests.wait import wait_until

GOOD = "{{ body }}"
DOUBLED = (
    "{% set a = [1] %}{% set b = [1] %}"
    + "{% set a = [a, a] %}{% set b = [b, b] %}" * 40
)
BOMBS = {
    "a huge number": "{{ 1|round(-100000000) }}",
    "doubled lists compared": DOUBLED + "{% if a == b %}{% endif %}",
}


@pytest.fixture
def renderer():
    """Return a renderer with one second of processor time for its jobs."""
    return RenderProcess(max_cpu_seconds=1)


def load(renderer, **pages):
    texts = {f"own/{name}.txt": text for name, text in pages.items()}
    renderer.load(
        TemplateFiles(
            texts=texts, paths={name: f"/srv/发布/templates/{name}" for name in texts}
        )
    )


def page(name="good", body="12377"):
    return RenderPage(page=f"own/{name}.txt", variables={}, body=body)


def is_exhausting(result):
    return isinstance(result, Problem) and result.code == "rendering_too_expensive"


@pytest.mark.long
@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
def test_f74_an_endless_rendering_is_one_jobs_problem_with_its_line(renderer, bomb):
    """F74: the limit on processor time covers a single endless step of Python.

    Jinja's budget does not cover it.
    """
    load(renderer, good=GOOD, bomb=f"{GOOD}\n\n{bomb}")
    first, problem, last = renderer.run([page(), page("bomb"), page()])
    assert first == last == RenderedText(text="12377")
    assert problem.code == "rendering_too_expensive"
    assert (problem.location.file, problem.location.line) == (
        "/srv/发布/templates/own/bomb.txt",
        3,
    )


@pytest.mark.long
def test_f74_a_job_that_ended_a_process_is_not_tried_again(renderer):
    """F74: neither a bad post nor a bad page takes the limit more than a few times.

    A bad post may have fifty accounts, and a bad page a thousand posts.
    """
    load(renderer, good=GOOD, bomb=BOMBS["a huge number"])
    started = []
    start = RenderProcess._start
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            RenderProcess, "_start", lambda self: (started.append(1), start(self))[1]
        )
        first = renderer.run(
            [page(), *(page("bomb", f"post {number}") for number in range(20)), page()]
        )
        again = renderer.run(
            [page("bomb", "post 0"), page("bomb", "another post"), page()]
        )
    assert first[0] == first[-1] == again[-1] == RenderedText(text="12377")
    assert all(map(is_exhausting, [first[1], first[2], again[0]]))
    assert {result.code for result in [*first[3:-1], again[1]]} == {
        "template_suspended"
    }
    assert len(started) == 1 + process.MAX_PAGE_LOSSES


@pytest.mark.long
def test_a_page_that_ended_a_process_is_tried_again_later(renderer, monkeypatch):
    """A post that made a page endless blocks that page for others for a minute.

    It blocks itself for ten minutes.
    """
    load(
        renderer,
        page="{% if body == 'bad' %}" + BOMBS["a huge number"] + "{% endif %}12377",
    )
    renderer.run([page("page", "bad"), page("page", "bad ")])
    monkeypatch.setattr(process, "MAX_PAGE_LOSSES", 1)
    assert renderer.run([page("page", "good")])[0].code == "template_suspended"
    monkeypatch.setattr(process, "PAGE_PAUSE_SECONDS", 0)
    assert renderer.run([page("page", "good")]) == [RenderedText(text="12377")]
    started = renderer._child
    assert is_exhausting(renderer.run([page("page", "bad")])[0])
    assert renderer._child is started


def test_a_stop_ends_a_rendering(renderer):
    """A caller that waits for a result when publisher stops learns at once that none comes."""
    load(renderer, bomb=BOMBS["a huge number"])
    renderer.max_cpu_seconds = 600
    ended = []

    def render():
        with pytest.raises(RendererClosedError):
            renderer.run([page("bomb")])
        ended.append(True)

    thread = threading.Thread(target=render)
    thread.start()
    wait_until(
        lambda: (
            renderer._child is not None and renderer._child.loaded_files is not None
        ),
        60,
    )
    renderer.close()
    thread.join(60)
    assert ended
    with pytest.raises(RendererClosedError):
        renderer.run([page("bomb")])


def test_f74_memory_does_not_grow_from_post_to_post():
    """F74: nothing of a post stays in the process but the last bodies.

    The limit on memory is the process's.
    """
    worker = RenderWorker()
    worker.load(
        TemplateFiles(texts={"a/b.html": "{{ body_html }}"}, paths={"a/b.html": "b"})
    )
    worker.run(
        [
            RenderPage(page="a/b.html", variables={}, body=str(number), is_article=True)
            for number in range(20)
        ]
    )
    assert body_html.cache_info().currsize <= MAX_CACHED_BODIES


def test_a_process_killed_from_outside_costs_nothing(renderer):
    """A job with a process killed from outside is repeated.

    This holds between two batches and in the middle of one.
    """
    load(renderer, good=GOOD)
    assert renderer.run([page()]) == [RenderedText(text="12377")]
    os.kill(renderer._child.process.pid, signal.SIGKILL)
    assert renderer.run([page(), page()]) == [RenderedText(text="12377")] * 2


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGXCPU])
def test_f74_a_crash_is_its_jobs_problem(renderer, number):
    """F74: a library is not given an input again that crashed it; other jobs are done."""
    renderer.max_cpu_seconds = 600
    load(renderer, good=GOOD, bomb=BOMBS["a huge number"])
    renderer.run([ReadBody(body="")])
    crash = threading.Timer(
        0.3, lambda child: os.kill(child.process.pid, number), [renderer._child]
    )
    crash.start()
    assert is_exhausting(renderer.run([page("bomb")])[0])
    assert is_exhausting(renderer.run([page("bomb")])[0])
    assert renderer.run([page()]) == [RenderedText(text="12377")]


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGSEGV])
def test_f74_a_process_that_ends_between_two_batches_fails_no_job(renderer, number):
    """F74: the next job does not fail, as it did not cause the end of the process."""
    renderer.run([ReadBody(body="")])
    os.kill(renderer._child.process.pid, number)
    renderer._child.process.wait()
    assert renderer.run([ReadBody(body="a")]) == [RenderedText(text="a")]


def test_f74_the_process_returns_the_results_of_the_worker():
    """F74: late imports of libraries are loaded before.

    This holds for links with Chinese hosts and for colour profiles.
    """
    links = [
        "[公安](https://公安.中国/x)",
        "<https://xn--55q79v.xn--fiqs8s/x>",
        "https://例え.jp",
        "[a](http://[::1]/)",
    ]
    bodies = [
        *links,
        "| 表 |\n|-|\n| `码` |",
        "1. 甲\n   - 乙\n\n> 引\n\n```\n码\n```",
        "&amp;&#x4e2d;&nbsp;",
        "![图](a.png)",
    ]
    pictures = [*PLAIN.values(), *TAGGED.values()]
    profiles = (
        PROFILE,
        *(path.read_bytes() for path in Path("/usr/share/color/icc").rglob("*.icc")),
    )
    modes = product(("RGB", "L"), profiles, ("PNG", "JPEG"))
    pictures += [
        encoded(kind, image(mode=mode), icc_profile=profile)
        for mode, profile, kind in modes
    ]
    template = (
        "{{ body_html }}{{ body|upper }}{{ when|moment }}{{ [3, 1]|sort|join('、') }}"
    )
    texts = {"own/page.html": template}
    files = TemplateFiles(texts=texts, paths={name: name for name in texts})
    variables = {"when": datetime(2027, 1, 5, 9, tzinfo=UTC)}
    jobs = [ReadBody(body=body) for body in bodies]
    jobs += [
        RenderPage(
            page="own/page.html", variables=variables, body=body, is_article=True
        )
        for body in bodies
    ]
    jobs += [CleanPicture(data=data) for data in pictures]
    worker, renderer = RenderWorker(), RenderProcess()
    worker.load(files)
    renderer.load(files)
    assert renderer.run(jobs) == worker.run(jobs)


def test_f74_a_hanging_process_is_ended_by_the_clock():
    """F74: where nothing limits processor time, or none is used, a batch still ends."""
    renderer = RenderProcess(result_timeout_seconds=30)
    renderer.run([ReadBody(body="")])
    renderer.result_timeout_seconds = 0.2
    os.kill(renderer._child.process.pid, signal.SIGSTOP)
    assert is_exhausting(renderer.run([ReadBody(body="a")])[0])


def framed(data):
    stream = BytesIO()
    write_frame(stream, data)
    return stream.getvalue()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\0\0\0\2",
        b"\xff\xff\xff\xff",
        framed(b"{}"),
        framed(b"null"),
        framed(b'{"kind": "RenderedText", "text": 1, "visible": ""}'),
        framed(b'{"kind": "RenderedText", "text": "a", "visible": "", "more": 1}'),
        framed(b'{"kind": "RenderProcess", "text": "a", "visible": ""}'),
        framed(b'{"kind": "PageCompiled"}'),
        framed(b'{"kind": "TemplateLine", "line": 1}'),
    ],
)
def test_f74_an_answer_that_is_no_result_is_refused(monkeypatch, answer):
    """F74: the parent of a compromised process accepts nothing but a job's result."""
    code = (
        f"import sys; sys.stdout.buffer.write(bytes(4) + {answer!r}); "
        "sys.stdout.flush(); sys.stdin.read(1)"
    )
    monkeypatch.setattr(process, "CHILD_COMMAND", (sys.executable, "-c", code))
    assert RenderProcess().run([ReadBody(body="a")]) != [RenderedText(text="a")]
    assert is_exhausting(RenderProcess().run([ReadBody(body="a")])[0])


def test_every_job_reports_that_no_process_starts(monkeypatch):
    """A caller that needs a rendering gets the reason for its lack.

    Filed posts are not affected.
    """
    for command in (
        ("/no/such/program",),
        (sys.executable, "-c", "raise SystemExit('no room')"),
    ):
        monkeypatch.setattr(process, "CHILD_COMMAND", command)
        results = RenderProcess().run([ReadBody(body="a"), ReadBody(body="b")])
        assert [result.code for result in results] == ["renderer_not_started"] * 2
        assert results[0].facts["reason"]


def test_a_renderer_that_did_not_start_at_first_leaves_no_template_faulty(monkeypatch):
    """A problem of the machine is reported for each post until it is over, without a restart."""
    with monkeypatch.context() as patch:
        patch.setattr(process, "CHILD_COMMAND", ("/no/such/program",))
        templates = load_templates([shipped_templates()], RenderProcess())
    assert not templates.faults
    assert render_for("wechat", post_of(), templates).images == (
        templates.cover("warning"),
    )


def test_i19_the_process_has_no_secret_and_ends_with_its_parent():
    """I19: the process gets only the environment that Python needs, and no open file.

    Nothing keeps it running after its parent.
    """
    code = (
        "import os, sys; from publisher.rendering import jobs, process; "
        "renderer = process.RenderProcess();"
        "renderer.run([jobs.ReadBody(body='')]); print(renderer._child.process.pid, flush=True);"
        "sys.stdin.read(); os._exit(0)"
    )
    environment = {**os.environ, "PUBLISHER_SECRET_KEY": "a-secret-key-of-publisher"}
    with Path(__file__).open() as secret:
        os.set_inheritable(secret.fileno(), True)  # noqa: FBT003 # its only argument
        parent = subprocess.Popen(
            [sys.executable, "-c", code],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            close_fds=False,
        )
    with parent:
        number = int(parent.stdout.readline())
        child, end = Path(f"/proc/{number}"), os.pidfd_open(number)
        assert b"a-secret-key-of-publisher" not in (child / "environ").read_bytes()
        assert not [
            link
            for link in (child / "fd").iterdir()
            if link.readlink() == Path(__file__)
        ]
        parent.stdin.close()
    assert select.select([end], [], [], 60)[0] == [end]
    os.close(end)


@pytest.mark.parametrize(
    "attempt",
    [
        "open('/etc/hostname')",
        "open('/tmp/by-the-renderer', 'w')",
        "__import__('socket').socket()",
        "os.fork()",
        "os.posix_spawn('/bin/true', ['true'], {})",
        "bytearray(2 * 1024**3)",
        "resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))",
    ],
)
def test_i19_a_compromised_process_can_open_nothing(attempt):
    """I19: no file, no connection, no process, no memory without end, and no way back to more."""
    code = (
        "import os, resource, socket, sys; from publisher.rendering.child import limit_resources\n"
        "if os.getuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "limit_resources()\n"
        f"try: {attempt}\n"
        "except (OSError, MemoryError, ValueError): os._exit(0)\n"
        "os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_jobs_and_results_are_transferred_unchanged():
    """Values that TOML knows and JSON does not, and bytes, arrive unchanged."""
    data = {
        "when": datetime(2027, 1, 5, 9, tzinfo=UTC),
        "day": date(2027, 1, 5),
        "hour": time(9, 30),
        "table": {"a": [1, 2.5, True, None, "字\ud800"], "value": 1},
        "huge": 10**40,
        "inf": float("inf"),
    }
    jobs = [
        RenderPage(page="own/good.txt", variables=data, body="b"),
        CleanPicture(data=b"\0\xff"),
        CompilePage(page="x"),
    ]
    files = TemplateFiles(
        texts={"a/b.txt": "c"}, paths={"a/b.txt": "/a/b.txt"}, faulty=["d"]
    )
    assert decode_batch(encode_batch(files, jobs)) == (files, jobs)
    cleaned = RenderWorker().run_job(CleanPicture(data=drawn("PNG")))
    page_job = RenderPage(page="a", variables={}, body="")
    for result, job in (
        (PageCompiled(), CompilePage(page="a")),
        (RenderedText(text="字", visible="v"), page_job),
        (cleaned, CleanPicture(data=b"")),
        (RenderWorker().run_job(CleanPicture(data=b"")), page_job),
    ):
        assert decode_result(encode_result(result), job) == result


@pytest.mark.parametrize(
    "data",
    [
        b"[]",
        b"1",
        b'{"kind": "Problem", "code": 1, "place": null, "facts": {}}',
        b"[" * 99_999,
    ],
)
def test_no_result_is_read_from_anything_else(data):
    """A code that is no text, or a list without end, is no result either."""
    with pytest.raises(InvalidResultError):
        decode_result(data, ReadBody(body="a"))


def test_no_picture_of_another_format_is_accepted():
    """The type of a picture that is passed to a platform is one of three."""
    odd = encode_result(CleanedPicture(format="BMP", width=1, height=1, data=b""))
    with pytest.raises(InvalidResultError):
        decode_result(odd, CleanPicture(data=b""))


PIECES = [
    "{{ body }}", "{{ data }}", "{{ [[]] * 3 }}", "{% for a in range(900) %}", "{% endfor %}",
    "{{ loop.index }}", "{% if", "{{ 'a'|upper|e }}", "{{ 9**9**9 }}", "{{ 1|round(-9) }}",
    "{% set a = [1, 'x'] %}", "{{ a + a }}", "{{ a|sort }}", "{% macro m(x) %}", "{% endmacro %}",
    "{{ m(m) }}", "{% include 'own/good.txt' %}", "{{ self }}", "{{ ''.x }}", "\0", "{% raw %}",
    "{{ '\\ud800' }}", "{% import 'own/good.txt' as b %}", "{{ b }}", "{% set a = [a, a] %}",
    "{{ a == a }}", "{{ '%s' % 1 }}", "<b>", "</p>", "&#0;", "&lt;", "**", "](", "![", "\n> ",
    "\n- ", "\n    ", "`" * 3, "\n|a|b|\n|-|-|\n",
]  # fmt: skip


def test_f74_no_input_stops_the_process():
    """F74: random templates, Markdown and pictures are rendered or refused, job by job."""
    dice, renderer = Random(74), RenderProcess()  # noqa: S311 # the same for all
    for _ in range(8):
        pages = {
            str(number): "".join(dice.choices(PIECES, k=dice.randint(1, 12)))
            for number in range(12)
        }
        load(renderer, good=GOOD, **pages)
        bodies = [
            "".join(dice.choices(PIECES, k=dice.randint(1, 200))) for _ in range(12)
        ]
        jobs = [CompilePage(page=f"own/{name}.txt") for name in pages]
        jobs += [page(name, body) for name, body in zip(pages, bodies, strict=True)]
        jobs += [
            RenderPage(page=f"own/{name}.txt", variables={}, body="x", is_article=True)
            for name in pages
        ]
        jobs += [ReadBody(body=body) for body in bodies]
        jobs += [CleanPicture(data=damaged(dice)) for _ in range(20)]
        results = renderer.run([*jobs, page()])
        assert not any(map(is_exhausting, results))
        assert results[-1] == RenderedText(text="12377")


def damaged(dice):
    data = bytearray(dice.choice([*PLAIN.values(), *TAGGED.values()]))
    for _ in range(dice.randint(1, 20)):
        data[dice.randrange(len(data))] = dice.randrange(256)
    return bytes(data[: dice.randint(1, len(data))] if dice.random() < 0.3 else data)
