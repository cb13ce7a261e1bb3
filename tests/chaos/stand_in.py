import asyncio
import json
import os
import sys
from pathlib import Path

args = sys.argv[1:]


def main(args):
    from publisher.telemetry import set_up

    set_up()
    if args[0] == "simulate":
        from publisher.simulator import serve

        host, port = args[args.index("--listen") + 1].split(":")
        asyncio.run(serve(host, int(port), Path(args[args.index("--state") + 1])))
        return 0
    folder, verb, *rest = Path(args[1]), args[2], *args[3:]
    from publisher.domain.events import Actor, Role
    from publisher.settings import load_settings
    from publisher.wiring.application import open_application
    from publisher.world import World, read_failpoints

    settings = asyncio.run(load_settings(folder))

    async def act():
        by = Actor(role=Role.PERSON, name="wang")
        async with open_application(settings, World(), sends=False) as app:
            if verb == "withdraw":
                await app.orders.withdraw(rest[0], by, "r")
            elif verb == "retract":
                await app.orders.retract(rest[0], rest[rest.index("--account") + 1], by, "r")
            else:
                rows = [
                    {
                        "post": d.key.post,
                        "occurrence": d.key.label,
                        "account": d.account,
                        "state": d.state.value,
                        "reason": d.reason,
                        "attempts": d.attempts,
                        "remote_id": d.receipt.remote_id if d.receipt else None,
                    }
                    for d in await app.board.deliveries()
                ]
                print(json.dumps({"deliveries": rows}))

    if verb == "run":
        from publisher.daemon import run

        return asyncio.run(run(settings, World(read_failpoints(os.environ.get("PUBLISHER_FAILPOINTS", "")))))
    asyncio.run(act())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
