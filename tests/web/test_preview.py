"""The cost of one person's many previews and pictures to others.

Turns at the renderer, and limits before the work.
"""

import asyncio
import io
import json
import os
import threading
from dataclasses import replace

import pytest
from PIL import Image
from sqlalchemy import delete

from publisher.domain.account import AccountId, Platform
from publisher.domain.errors import RefusedError
from publisher.domain.post import (
    OccurrenceKey,
    PostId,
    RenderedImage,
    RenderedPost,
    derive_marker,
)
from publisher.engine import pictures
from publisher.rendering.jobs import ReadBody, RenderPage
from publisher.store.db.user_tables import DRAFT
from publisher.store.people import drafts
from publisher.testing.builders import make_policy
from publisher.web import dashboard
from publisher.web.kit.page import load_macro
from publisher.web.kit.preview import (
    MAX_ARTICLE_CHARACTERS_PER_USER,
    MAX_EMBEDDED_BYTES,
    MAX_WAITING_PER_USER,
    Articles,
    RenderTurns,
    embed_media,
)
from publisher.web.write import write
from tests.wait import eventually
from tests.web.test_live import load_page
from tests.web.test_write import NEW, file  # noqa: F401 # the fixture

COLUMNS = 1_300
TABLE = "|" + "a|" * COLUMNS + "\n|" + "-|" * COLUMNS + "\n" + "a\n" * COLUMNS
"""A table of less than 8 kB that makes 65,000 cells."""


@pytest.fixture(autouse=True)
def without_waiting(monkeypatch):
    """No daemon runs here that would put a save in force."""
    monkeypatch.setattr(write, "ACCEPTED_WITHIN_SECONDS", 0)


class Queue:
    """Requests at the renderer.

    Each holds the renderer until it is released.
    """

    def __init__(self):
        self.turns, self.order, self.tasks = RenderTurns(), [], []
        self.gate = asyncio.Semaphore(0)

    async def ask(self, name, **kind):
        user = name.rstrip("0123456789")

        async def run():
            async with self.turns.take(user, **kind) as has_turn:
                self.order.append(name if has_turn else f"not {name}")
                if has_turn:
                    await self.gate.acquire()

        self.tasks.append(asyncio.create_task(run()))
        await asyncio.sleep(0)  # it is in the queue

    async def finish(self):
        for _ in self.tasks:
            self.gate.release()
        await asyncio.wait_for(asyncio.gather(*self.tasks, return_exceptions=True), 5)
        return self.order


async def test_users_take_turns_whoever_asks_for_most():
    """Users take turns, and saves go first.

    Three people that ask after one with three requests wait for one of these.
    """
    queue = Queue()
    for name in ("王1", "王2", "王3", "李1", "赵1"):
        await queue.ask(name)
    await queue.ask("孙1", is_save=True)
    assert await queue.finish() == ["王1", "孙1", "王2", "李1", "赵1", "王3"]


async def test_f90_many_saves_delay_a_preview_by_one_turn():
    """Saves of others come between previews, and previews between saves."""
    queue = Queue()
    for number in range(1, 4):
        await queue.ask(f"王{number}", is_save=True)
    await queue.ask("赵1", is_save=True)
    for name in ("李1", "孙1"):
        await queue.ask(name)
    assert await queue.finish() == ["王1", "王2", "李1", "赵1", "孙1", "王3"]


async def test_of_the_checks_of_a_user_only_the_newest_waits():
    """An older one that has not begun ends at once; other requests of the user stay."""
    queue = Queue()
    await queue.ask("王1")
    await queue.ask("王2")
    for name in ("王3", "王4", "李1", "王5"):
        await queue.ask(name, is_replaceable=True)
    await asyncio.sleep(0)
    assert await queue.finish() == ["王1", "not 王3", "not 王4", "王2", "李1", "王5"]


async def test_a_request_that_is_given_up_keeps_nobody_waiting():
    """Also if its turn has just come."""
    queue = Queue()
    for name in ("王1", "李1", "赵1", "孙1"):
        await queue.ask(name)
    queue.tasks[1].cancel()
    await asyncio.sleep(0)
    queue.gate.release()
    await eventually(lambda: "赵1" in queue.order, 5)
    assert await queue.finish() == ["王1", "赵1", "孙1"]
    assert not queue.turns.is_taken


async def test_a_request_that_is_given_up_in_the_moment_of_its_turn_keeps_nobody_waiting():
    """A request that is given up in the moment of its turn keeps nobody waiting.

    Its wait has ended before its task runs. The turn goes to the next, and a newer check takes no
    place of it.
    """
    queue = Queue()
    for name in ("王1", "李1", "赵1"):
        await queue.ask(name)
    await queue.ask("孙1", is_replaceable=True)
    queue.gate.release()
    queue.tasks[1].cancel()
    queue.tasks[3].cancel()
    await queue.ask("孙2", is_replaceable=True)
    assert await queue.finish() == ["王1", "赵1", "孙2"]
    assert not queue.turns.is_taken


async def test_who_has_too_many_waiting_is_refused():
    """Others are not."""
    queue = Queue()
    for number in range(MAX_WAITING_PER_USER + 1):
        await queue.ask(f"王{number}")
    with pytest.raises(RefusedError, match="web_too_many_previews"):
        async with queue.turns.take("王"):
            pass
    await queue.ask("李1")
    assert len(await queue.finish()) == MAX_WAITING_PER_USER + 2


@pytest.mark.parametrize(
    ("field", "text", "problem"),
    [
        ("body", TABLE, "格"),
        ("body", "> " + TABLE.replace("\n", "\n> "), "格"),
        ("body", "a\n\n" * 1_500, "行"),
        ("body", "[a](b)" * 2_600, "排版符号"),
        ("data.summary", "字" * 20_001, "太长"),
        ("text.weibo", "字" * 20_001, "太长"),
    ],
    ids=["table", "quoted table", "lines", "marks", "data", "platform's text"],
)
async def test_what_would_cost_the_renderer_seconds_is_refused_before_any_work(
    site, monkeypatch, field, text, problem
):
    """The problem stands at the field, and nothing of it was given to the renderer."""
    renderer, jobs = site.application.planner.post_renderer.templates.renderer, []
    run = type(renderer).run
    monkeypatch.setattr(
        type(renderer),
        "run",
        lambda self, found: jobs.extend(found) or run(self, found),
    )
    author = await site.signed_in("author")
    answer = await author.post("/write/check", data={**NEW, field: text})
    assert answer.status_code == 200
    note = answer.text.partition(
        f'data-testid="problem-{field.removeprefix("data.")}"'
    )[2][:200]
    assert problem in note
    assert [job for job in jobs if isinstance(job, ReadBody | RenderPage)] == []


@pytest.mark.usefixtures("file")
async def test_one_author_with_many_previews_lets_others_through(site, monkeypatch):
    """One author with many previews lets others through.

    While one preview of the author runs, the newest of the rest waits. Another person's is next,
    and a save is first of all.
    """
    renderer = site.application.planner.post_renderer.templates.renderer
    begun = []
    go = threading.Semaphore(0)
    run = type(renderer).run

    def wait(self, jobs):
        titles = {
            job.variables["post"]["title"]
            for job in jobs
            if isinstance(job, RenderPage)
        }
        if titles:
            begun.append(titles.pop())
            go.acquire(timeout=10)
        return run(self, jobs)

    monkeypatch.setattr(type(renderer), "run", wait)
    wang, li = (
        await site.signed_in("author", name="王"),
        await site.signed_in("author", name="李"),
    )

    async def check(client, title):
        answer = await client.post("/write/check", data={**NEW, "title": title})
        return answer.status_code

    turns, save = site.app.state.site.render_turns, {**NEW, "title": "李要保存的"}
    tasks = [asyncio.create_task(check(wang, "王一"))]
    await eventually(lambda: begun, 5)
    tasks += [
        asyncio.create_task(check(wang, title)) for title in ("王二", "王三", "王四")
    ]
    await eventually(lambda: sum(task.done() for task in tasks) == 2, 5)
    tasks.append(asyncio.create_task(check(li, "李一")))
    await eventually(lambda: "李" in turns._previews, 5)
    saving = asyncio.create_task(li.post("/write", data=save))
    await eventually(lambda: "李" in turns._saves, 5)
    for _ in range(20):
        go.release()
    statuses, saved = await asyncio.wait_for(asyncio.gather(*tasks), 30), await saving
    [newest] = [title for title in begun if title in {"王二", "王三", "王四"}]
    assert sorted(statuses) == [200, 200, 200, 204, 204]
    assert saved.status_code == 303
    assert list(dict.fromkeys(begun)) == ["王一", "李要保存的", newest, "李一"]


def make_picture(number=0):
    data = io.BytesIO()
    Image.new("RGB", (40, 30), (number, 0, 0)).save(data, "PNG")
    return data.getvalue()


async def upload(client, number=0):
    files = {"picture": ("a.png", make_picture(number), "image/png")}
    return await client.post("/write", data={**NEW, "do": "refresh"}, files=files)


async def delete_drafts(site):
    """Delete every draft for good, as time does: nothing names their pictures any more."""
    await site.store.database.write(lambda unit: unit.connection.execute(delete(DRAFT)))


@pytest.mark.parametrize("limit", ["bytes", "unused", "disk"])
async def test_one_author_cannot_fill_the_disk_with_pictures(site, monkeypatch, limit):
    """Pictures above a limit are refused at the field and not written.

    Another author's pictures are kept as before.
    """
    if limit == "unused":
        monkeypatch.setattr(drafts, "MAX_UNUSED_UPLOADS", 2)
    wang, li = (
        await site.signed_in("author", name="王"),
        await site.signed_in("author", name="李"),
    )
    media, answers = (
        site.application.settings.staff_folder / "media",
        [await upload(wang)],
    )
    if limit == "bytes":
        [first] = media.glob("2026-11-*.png")
        monkeypatch.setattr(
            drafts,
            "MAX_UPLOADED_BYTES_PER_DAY",
            first.stat().st_size + len(make_picture()) + 20,
        )
    answers.append(await upload(wang, 1))
    if limit == "unused":
        await delete_drafts(site)
    if limit == "disk":
        monkeypatch.setattr(pictures, "MIN_FREE_BYTES", 2**62)
    answers.append(await upload(wang, 2))
    others = await upload(li, 3)
    assert [
        answer.text.count('data-testid="problem-images"') for answer in answers
    ] == [0, 0, 1]
    assert others.text.count('data-testid="problem-images"') == (limit == "disk")
    assert len(list(media.glob("2026-11-*.png"))) == (2 if limit == "disk" else 3)


async def test_pictures_of_drafts_and_posts_are_not_counted_as_unused(
    site, monkeypatch
):
    """A user that uses the uploaded pictures may go on uploading."""
    monkeypatch.setattr(drafts, "MAX_UNUSED_UPLOADS", 1)
    author = await site.signed_in("author", name="王")
    first = await upload(author)
    [draft] = await site.store.drafts.list("王")
    [path] = json.loads(draft.content)["image_file"]
    await delete_drafts(site)
    refused = await upload(author, 1)
    await author.post(
        "/write/check", data={**NEW, "image_file": path, "image_alt": "红"}
    )
    answer = await upload(author, 1)
    assert path.startswith("media/2026-11-")
    assert ["problem-images" in found.text for found in (first, refused, answer)] == [
        False,
        True,
        False,
    ]


def test_the_articles_of_one_user_take_so_much_memory_and_displace_no_others():
    """The articles of one user take bounded memory and displace no others.

    The newest is kept in any case. Of the older ones, a user may have a number and a size.
    """
    articles, media = Articles(), {"0" * 64: ("image/png", b"x" * 3_000_000)}
    articles.keep("李", make_article("li"), {})
    for number in range(12):
        articles.keep("王", make_article(f"small {number}"), {})
    small = dict(articles._kept["王"])
    for number in range(20):
        articles.keep("王", make_article(f"big {number}", f"media:{'0' * 64}"), media)
    kept = articles._kept["王"]
    assert [title for title, _text in small.values()] == [
        f"small {number}" for number in range(4, 12)
    ]
    assert (
        sum(len(text) for _title, text in kept.values())
        <= MAX_ARTICLE_CHARACTERS_PER_USER
    )
    assert next(reversed(kept.values()))[0] == "big 19"
    assert articles.get("李", make_article("li").fingerprint)[0] == "li"


def make_article(title, text="x"):
    marker = derive_marker(
        OccurrenceKey(post=PostId("p"), occurrence="once"), AccountId("a")
    )
    return RenderedPost(
        account=AccountId("a"),
        platform=Platform("wechat"),
        marker=marker,
        title=title,
        text=text,
    )


async def test_the_dashboard_removes_unused_pictures_by_itself(site, monkeypatch):
    """The dashboard removes unused pictures once a day, with saves kept out.

    Where the schedule cannot be read it goes on the next day.
    """
    monkeypatch.setattr(dashboard, "CLEANING_DELAY_SECONDS", 0)
    monkeypatch.setattr(dashboard, "CLEANING_INTERVAL_SECONDS", 0.01)
    author, settings, warnings = (
        await site.signed_in("author"),
        site.application.settings,
        [],
    )
    monkeypatch.setattr(
        dashboard.log, "warning", lambda event, **_facts: warnings.append(event)
    )
    await upload(author)
    await delete_drafts(site)
    [picture] = (settings.staff_folder / "media").glob("2026-11-*.png")
    os.utime(picture, (0, 0))
    text = settings.schedule_file.read_text("utf-8")
    settings.schedule_file.unlink()
    cleaning = asyncio.create_task(dashboard.remove_pictures_daily(site.app.state.site))
    await eventually(lambda: warnings, 5)
    is_kept = picture.exists()
    settings.schedule_file.write_text(text, "utf-8")
    await eventually(lambda: not picture.exists(), 5)
    cleaning.cancel()
    assert is_kept
    assert set(warnings) == {"unused_pictures_kept"}


def test_a_preview_of_an_article_has_pictures_up_to_a_size():
    """However many pictures a post has, its preview has a bounded size."""
    media = {
        f"{number:064}": ("image/png", bytes(MAX_EMBEDDED_BYTES // 3))
        for number in range(4)
    }
    shown = embed_media("".join(f'<img src="media:{name}">' for name in media), media)
    assert shown.count("data:image/png") == 3
    assert len(shown) < 2 * MAX_EMBEDDED_BYTES


@pytest.mark.parametrize("is_article", [True, False])
async def test_i5_a_preview_shows_all_that_an_approval_covers(site, is_article):
    """Nothing is published that no approver was shown: also summary, link, cover, descriptions."""
    picture = RenderedImage(
        sha256="a" * 64, media_type="image/png", size=9, width=9, height=9, alt="说明戊"
    )
    rendered = RenderedPost(
        account=AccountId("a"),
        platform=Platform("weibo"),
        marker=derive_marker(
            OccurrenceKey(post=PostId("p"), occurrence="once"), AccountId("a")
        ),
        title="标题甲",
        text="正文乙",
        summary="摘要丙",
        link="https://example.gov.cn/丁",
        images=(picture,),
        extra_parts=() if is_article else ("余下己",),
    )
    policy = make_policy("a")
    policy = replace(
        policy,
        account=replace(policy.account, forum=None if is_article else "反诈吧"),
        capabilities=replace(policy.capabilities, is_article=is_article),
    )
    visitor, _address = await load_page(site)
    shown = load_macro(visitor, "parts/preview", "preview")(
        rendered, policy, "北京", ""
    )
    # the text of an article is in a frame of its own
    words = ["标题甲", "摘要丙", "https://example.gov.cn/丁", "说明戊", "a" * 64]
    words += (
        [f"/articles/{rendered.fingerprint}"] if is_article else ["正文乙", "余下己"]
    )
    assert [word for word in words if word not in shown] == []
