#!/usr/bin/env python3
"""Write the pages of docs/ that are drawn from the code; with --check, only tell whether they are fresh.

A new page is one function that gives its whole text, and one line in PAGES.
"""

import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from publisher.domain.delivery import ENDED, State
from publisher.domain.lifecycle import TRANSITIONS, Rule
from publisher.domain.outcome import HoldReason

ROOT = Path(__file__).resolve().parent.parent
GENERATED = "<!-- Drawn from the code by scripts/make_docs.py; edits here are overwritten. -->"

INTRODUCTION = """\
A delivery is the duty to put one occurrence of a post on one account. This page lists every step it can take; whatever
is not listed is refused. Steps that stay in a state are left out of the diagram."""

STATES: Mapping[State, tuple[str, str]] = {
    State.PENDING: ("等待到点或等待审批。", "Filed; its time or its approvals are still to come."),
    State.DUE: ("已到点，等待发送。", "Its time has come; it waits for a worker."),
    State.RETRY_WAIT: ("平台暂不受理，稍后再试。", "The platform did nothing and asked us to come back; it waits."),
    State.CLAIMED: ("已有工作进程接手，尚未发送。", "A worker has it in hand; nothing has been announced yet."),
    State.SENDING: ("发送意图已落盘，正在发送。", "The intent is on disk and the call may be running."),
    State.SUBMITTED: ("平台已收下，正在审核。", "The platform has taken it and still works on it."),
    State.UNKNOWN: (
        "发送结果不明，正在回读账号核对。",
        "Nobody knows how the call ended; the account is read until it is known.",
    ),
    State.RETRACTING: ("正在撤下，确认之前保持红色。", "It is being taken down; red until that is confirmed."),
    State.HELD: ("已暂停，等待指定人员裁定。", "Stopped until a named person decides."),
    State.PUBLISHED: ("已发布，有平台凭据。", "Live, and proven by the platform's own id."),
    State.RETRACTED: ("已撤下并确认。", "Taken down, and confirmed."),
    State.REMOVED: ("被平台或他人删除。", "Removed by the platform or by a person there."),
    State.FAILED: ("未能发布，原因已记录。", "Not published, for a reason that is recorded."),
    State.EXPIRED: ("已过有效期，未发送。", "Too late to be sent; it was not."),
    State.CANCELLED: ("已取消，未发送。", "Not wanted any more; it was not sent."),
}
REASONS: Mapping[HoldReason, tuple[str, str]] = {
    HoldReason.AUTH: ("登录连续两次被拒，请重新授权。", "The sign-in was refused twice in a row: sign in again."),
    HoldReason.CAPTCHA: ("平台要求人工验证。", "The platform wants a person to prove that they are one."),
    HoldReason.ACCOUNT: ("账号被冻结、禁言或限制。", "The account is frozen, muted or restricted."),
    HoldReason.PERMISSION: ("账号没有发布所需的权限。", "The account lacks a permission that this post needs."),
    HoldReason.WRONG_ACCOUNT: ("平台回应的是另一个账号。", "The platform answered for another account."),
    HoldReason.EDITED: ("部分账号发出后，内容被修改。", "The post was edited after part of it went out."),
    HoldReason.IMAGE_MISSING: ("审批过的图片已找不到。", "A picture that was approved is gone."),
    HoldReason.LOOKALIKE: (
        "账号上有相似内容，但没有本条编号。",
        "The account shows the same words without our marker.",
    ),
    HoldReason.CANNOT_CHECK: (
        "账号列表读不到，无法核对。",
        "The account cannot be read, so the doubt cannot be ended.",
    ),
    HoldReason.ABSENT: (
        "已证实未发出，但此平台不允许自动重发。",
        "Proven absent; this platform allows no second call.",
    ),
    HoldReason.ABSENT_TWICE: ("重发之后再次证实未发出。", "Proven absent again, after a second call."),
    HoldReason.NOT_SEEN: ("裁定为已发布，但回读没有看到。", "Said to be live, but a reading did not show it."),
    HoldReason.REVIEW: ("平台审核迟迟没有结果。", "The platform's review does not end."),
    HoldReason.POISON: ("多次使工作进程崩溃。", "It has cost too many workers their life."),
    HoldReason.FOREIGN_STATE: ("状态来自本版本不认识的程序。", "It carries a state that this version does not know."),
}


def states_page() -> str:
    """Give the page on the states of a delivery: a diagram, a heading for each state, one for each hold reason."""
    parts = [
        "# States of a delivery",
        GENERATED,
        INTRODUCTION,
        "\n".join(["```mermaid", "stateDiagram-v2", *_arrows(), "```"]),
        *(part for state in State for part in _state_section(state)),
        "# Hold reasons",
        *(part for reason in HoldReason for part in (f"## {reason}", "\n\n".join(REASONS[reason]))),
    ]
    return "\n\n".join(parts) + "\n"


def _arrows() -> Iterator[str]:
    labels: dict[tuple[State, State], list[str]] = defaultdict(list)
    for (source, event), rule in TRANSITIONS.items():
        for target in rule.to - {source}:
            labels[source, target].append(event.__name__)
    yield f"    [*] --> {State.PENDING}"
    order = list(State)
    for source, target in sorted(labels, key=lambda pair: (order.index(pair[0]), order.index(pair[1]))):
        yield f"    {source} --> {target}: {', '.join(sorted(labels[source, target]))}"
    yield from (f"    {state} --> [*]" for state in State if state in ENDED)


def _state_section(state: State) -> Iterator[str]:
    yield f"## {state}"
    yield "\n\n".join(STATES[state])
    lines = sorted((event.__name__, rule) for (source, event), rule in TRANSITIONS.items() if source is state)
    if not lines:
        yield "An end: nothing leads out of it. To send again, a person orders a new occurrence."
        return
    yield "\n".join(["| event | leads to | brought by |", "|---|---|---|", *(_line(*line) for line in lines)])


def _line(event: str, rule: Rule) -> str:
    targets = ", ".join(state for state in State if state in rule.to)
    return f"| {event} | {targets} | {', '.join(sorted(rule.who))} |"


PAGES: tuple[tuple[Path, Callable[[], str]], ...] = ((ROOT / "docs" / "states.md", states_page),)


def main(arguments: list[str]) -> int:
    """Write all pages, or with --check name the stale ones and return 1 if there are any."""
    texts = {path: page() for path, page in PAGES}
    stale = [path for path, text in texts.items() if not path.exists() or path.read_text("utf-8") != text]
    if "--check" in arguments:
        sys.stdout.writelines(f"stale: {path.relative_to(ROOT)}; run scripts/make_docs.py\n" for path in stale)
        return 1 if stale else 0
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(texts[path], "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
