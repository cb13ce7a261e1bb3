"""A day without faults, once with each mutant: `python -m tests.chaos.no_fault_run [NAME…]`. None of them may show.

Six accounts on the simulator get two posts each: the program starts, `check` passes, `run --once` ends with 0 and no
alert, and each account holds both posts, once, with exactly the words that a sound program says.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.request import Request, urlopen

from publisher.cli.workspace import DemoWorkspace, create_workspace, demo_files, new_workspace_files, read_regions
from tests.chaos.mutants import MODULES

SOUND = ""
POSTS = ("refund", "parcel")
REGIONS = 2
POST = """
[[post]]
id = "{id}"
kind = "warning"
template = "warning"
author = "zhang"
level = "orange"
title = "警惕“退款客服”诈骗"
at = {at}
max_delay = "2h"
to = ["all"]
[post.data]
summary = "正规退款原路退回，不用转账"
signs = ["来电能准确说出您的订单"]
advice = ["先挂断，再到购物平台内核实"]
"""
DUE = datetime.now(timezone(timedelta(hours=8))).strftime("%Y-%m-%dT%H:%M:00")
"""Due already and the same for every day, as an instant may stand in the words."""
Words = list[tuple[str, str, str]]


@contextmanager
def simulator() -> Iterator[str]:
    """Run the platforms; gives their address."""
    command = [sys.executable, "-m", "publisher", "--lang", "en", "simulate", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            said = process.stdout.readline() if process.stdout else ""
            yield next(word for word in said.split() if word.startswith("http://"))
        finally:
            process.terminate()


def day(name: str, address: str, folder: Path) -> tuple[Words, list[str]]:
    """Let a program with this bug, or a sound one, have a calm day: the words that went out, and what was amiss."""
    urlopen(Request(f"{address}/_sim/reset", method="POST")).close()  # noqa: S310 # our own process
    drill = demo_files(DemoWorkspace(regions=read_regions()[:REGIONS], simulator_url=address))
    schedule = "".join(POST.format(id=post, at=DUE) for post in POSTS).encode()
    create_workspace(folder, {**new_workspace_files(), **drill, "schedule.toml": schedule})
    done = {words: publisher(name, folder, words) for words in (("check",), ("run", "--once"))}
    amiss = [f"{words[0]} ended with {end.returncode}: {end.stderr}" for words, end in done.items() if end.returncode]
    status = json.loads(publisher(SOUND, folder, ("status", "--json")).stdout)
    states = [row["state"] for row in status["deliveries"]]
    if states != ["published"] * len(POSTS) * REGIONS * 3:
        amiss.append(f"states: {states}")
    amiss += [f"alert: {alert}" for alert in status["alerts"]]
    with urlopen(f"{address}/_sim/posts") as reply:  # noqa: S310 # our own process
        posts = json.load(reply)
    return sorted((post["account"], post["title"], post["text"]) for post in posts), amiss


def publisher(name: str, folder: Path, words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    module = ["tests.chaos.faulty_host", f"--mutant={name}", "--"] if name else ["publisher"]
    command = [sys.executable, "-m", *module, "-C", str(folder), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def main(names: Sequence[str]) -> int:
    shown = 0
    with simulator() as address, TemporaryDirectory() as folder:
        expected, amiss = day(SOUND, address, Path(folder) / "sound")
        if amiss:
            sys.stdout.write(f"a sound program: {amiss}\n")
            return 1
        for name in names or MODULES:
            began = time.monotonic()
            words, amiss = day(name, address, Path(folder) / name)
            if words != expected:
                amiss.append(f"{len(words)} posts, other than the {len(expected)} of a sound program")
            shown += bool(amiss)
            sys.stdout.write(f"{name}: {'; '.join(amiss) or 'calm'} ({time.monotonic() - began:.1f} s)\n")
            sys.stdout.flush()
    return int(bool(shown))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
