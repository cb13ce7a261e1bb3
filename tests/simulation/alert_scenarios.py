"""Storms of changing sign-ins and of channels that refuse, hang and work again.

People are notified by the channels.
"""

from collections.abc import Mapping
from random import Random

from publisher.app.open_store import open_store
from publisher.simulator.faults import Fault
from tests.simulation.channels import HANG, REFUSE
from tests.simulation.scenarios import (
    LOST,
    MADE,
    SetUp,
    Storm,
    act,
    draw_shape,
    one_offs,
)
from tests.simulation.simulation import CRASH_FAILPOINTS, Simulation
from tests.simulation.workspace import identity_of, instant

SIGN_IN_FAULTS: Mapping[str, tuple[Fault, ...]] = {
    "works": (),
    "refused": ({"kind": "expire_token"},),
    "unreadable": ({"kind": "html"},),
}
CLOSE_SECONDS = 700.0
"""Seconds after the storm until it has been reported that most of its alerts are over."""


def _set_up_flapping(rng: Random, entry_rng: Random) -> SetUp:
    shape = draw_shape(rng, storm=500.0, most=2, pace=(1.5, 3.0))
    shape.notifies, shape.command_times = True, []
    shape.create = rng.choice([0.0, 0.3, 0.6])
    shape.crash_chance = rng.choice([0.0, 0.0, 0.003])
    shape.at_failpoints = {
        name: rng.randint(1, 3)
        for name in rng.sample(CRASH_FAILPOINTS, rng.choice([0, 2]))
    }
    shape.kills = [rng.uniform(20, 450) for _ in range(rng.choice([0, 1, 3]))]
    shape.freezes = [
        (rng.uniform(20, 450), rng.uniform(3, 20)) for _ in range(rng.choice([0, 0, 1]))
    ]
    entries = one_offs(
        entry_rng, shape, number=entry_rng.randint(3, 5), within=(10, 400)
    )
    for entry in entries:
        if entry.at and entry_rng.random() < 0.5:
            entry.expires = instant(entry.at.timestamp() + entry_rng.uniform(10, 90))
    return shape, entries


def _play_flapping(simulation: Simulation) -> None:
    """Let sign-ins and channels fail and work again, in turn, until the storm is over.

    Then wait for the remaining notices.
    """
    rng, faults, channels = (
        simulation.rng,
        simulation.platforms.faults,
        simulation.channels,
    )
    for account in simulation.shape.accounts:
        faults.own[identity_of(account)] = [
            rng.choice(rng.choice([LOST, MADE])) for _ in range(rng.randint(0, 2))
        ]
    while simulation.loop.time() < simulation.shape.storm:
        account = rng.choice(simulation.shape.accounts)
        faults.always[identity_of(account)] = list(
            SIGN_IN_FAULTS[rng.choice(sorted(SIGN_IN_FAULTS))]
        )
        simulation.run_command(request_probe(simulation, account))
        if rng.random() < 0.5:
            channel = rng.choice(["duty", "duty", "chief"])
            fault = rng.choice([None, REFUSE, HANG])
            channels.broken = {
                name: kind
                for name, kind in {**channels.broken, channel: fault}.items()
                if kind
            }
        if rng.random() < 0.3:
            act(simulation)
        simulation.pass_time(rng.uniform(10, 120))
    faults.always.clear()
    channels.broken.clear()
    for account in simulation.shape.accounts:
        simulation.run_command(request_probe(simulation, account))
    simulation.pass_time(CLOSE_SECONDS, pace=10)


async def request_probe(simulation: Simulation, account: str) -> None:
    """Let a sign-in be checked at the next occasion, as after a person's change to it."""
    async with open_store(simulation.settings, simulation.new_runtime()) as store:
        await store.login_health.request_probe(store.policies[account].account)


ALERT_STORMS: Mapping[str, Storm] = {
    "flapping": Storm(set_up=_set_up_flapping, play=_play_flapping)
}
