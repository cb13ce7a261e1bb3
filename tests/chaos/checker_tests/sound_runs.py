"""Good runs by seed: each a few stories drawn at random, with every artefact that the checker can judge."""

from collections.abc import Mapping, Sequence

from tests.chaos.checker.artefacts import Artefacts
from tests.chaos.checker_tests.run_builder import ACCOUNTS, BEGAN, FAR, Row, Scene
from tests.chaos.checker_tests.run_scenarios import ONLY, STORIES, TOMORROW

FEWEST, MOST = 4, 9
SOON = 1.0
HOMES = {
    "absent": "wechat",
    "absent twice": "weibo",
    "edited": "weibo",
    "expired": "tieba",
    "refused": "wechat",
    "edited in doubt": "weibo",
    "left out in doubt": "weibo",
    "clock set ahead": "wechat",
}
"""Where the stories of a full run play that differ from platform to platform."""


def good_run(seed: int) -> Artefacts:
    """Report some stories, drawn by the seed, one after the other, and give what they leave."""
    scene = Scene(seed)
    names = [scene.dice.choice(list(STORIES)) for _ in range(scene.dice.randint(FEWEST, MOST))]
    return _told(scene, names, {})


def full_run(seed: int) -> Artefacts:
    """Report every story once; post N reports the Nth."""
    return _told(Scene(seed), list(STORIES), HOMES)


def _told(scene: Scene, names: Sequence[str], homes: Mapping[str, str]) -> Artefacts:
    reported = [(name, row) for number, name in enumerate(names, 1) for row in _rows(scene, name, number, homes)]
    half = len(reported) // 2
    scene.accept("version 1", [row for _name, row in reported[:half]])
    scene.wait(0.5)
    scene.accept("version 2", [row for _name, row in reported[half:]])
    for name, row in reported:
        STORIES[name][0](scene, row)
        scene.wait(0.2)
    if homes or scene.dice.random() < 0.3:
        scene.post_by_hand()
    return scene.artefacts()


def _rows(scene: Scene, name: str, number: int, homes: Mapping[str, str]) -> list[Row]:
    """One delivery for most stories; a post that simply goes out has several accounts, in a full run all of them."""
    home = ONLY.get(name) or homes.get(name)
    known = [account for account, platform in ACCOUNTS.items() if home in {None, platform}]
    several = len(known) if homes else len(known) // 2
    accounts = scene.dice.sample(known, several if name == "plain" else 1)
    due = BEGAN + (FAR if name in TOMORROW else SOON)
    rows = [
        scene.draft(f"post-{number}", account, due=due, parts=_floors(scene, name, account)) for account in accounts
    ]
    for row in rows:
        scene.duty(row)["end"] = STORIES[name][1]
    return rows


def _floors(scene: Scene, name: str, account: str) -> int:
    """In how many further parts it goes on: Tieba alone knows any."""
    if ACCOUNTS[account] != "tieba":
        return 0
    return 2 if name == "parts" else scene.dice.choice((0, 0, 1, 2))
