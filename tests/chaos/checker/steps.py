"""The legal steps of a delivery, written down a second time: from, event, to, and who may bring it."""

TABLE = """
pending    | expired              | expired                             | deliverer keeper
pending    | revised              | pending held                        | planner
pending    | became_due           | due                                 | keeper
pending    | held                 | held                                | deliverer keeper planner reconciler retractor
pending    | cancelled            | cancelled                           | keeper person planner
due        | claimed              | claimed                             | deliverer
due        | expired              | held expired                        | deliverer keeper
due        | retraction_requested | retracting cancelled                | person
due        | revised              | pending due held                    | planner
due        | held                 | held                                | deliverer keeper planner reconciler retractor
due        | cancelled            | held cancelled                      | keeper person planner
retrying | expired              | held expired                        | deliverer keeper
retrying | retraction_requested | retracting cancelled                | person
retrying | revised              | retrying pending held             | planner
retrying | became_due           | due                                 | keeper
retrying | held                 | held                                | deliverer keeper planner reconciler retractor
retrying | cancelled            | held cancelled                      | keeper person planner
claimed    | expired              | held expired                        | deliverer keeper
claimed    | attempt_started      | sending                             | deliverer
claimed    | lease_expired        | due held                            | keeper
claimed    | released             | due                                 | deliverer
claimed    | retraction_requested | retracting cancelled                | person
claimed    | revised              | pending claimed held                | planner
claimed    | held                 | held                                | deliverer keeper planner reconciler retractor
claimed    | cancelled            | held cancelled                      | keeper person planner
sending    | blocked              | retracting held                     | deliverer
sending    | busy                 | retrying retracting held cancelled | deliverer
sending    | credential_expired   | retrying retracting held cancelled | deliverer
sending    | lease_expired        | unknown due cancelled held retracting | keeper
sending    | not_sent             | retrying retracting held cancelled | deliverer
sending    | published            | due retracting held published       | deliverer
sending    | rate_limited         | retrying retracting held cancelled | deliverer
sending    | rejected             | retracting held failed              | deliverer
sending    | retraction_requested | sending                             | person
sending    | revised              | sending                             | planner
sending    | submitted            | submitted retracting                | deliverer
sending    | unknown              | unknown retracting                  | deliverer
sending    | cancelled            | sending                             | person planner
submitted  | absence_proven       | submitted                           | reconciler
submitted  | deleted              | removed                             | reconciler
submitted  | possible_match       | held                                | reconciler
submitted  | not_found            | submitted                           | reconciler
submitted  | published            | due held published                  | reconciler
submitted  | rate_limited         | submitted                           | reconciler
submitted  | rejected             | held failed                         | reconciler
submitted  | retraction_requested | retracting                          | person
submitted  | revised              | submitted                           | planner
submitted  | resolved             | due retrying submitted unknown retracting held published retracted removed failed expired cancelled | person
submitted  | held                 | held                                | keeper reconciler
submitted  | submitted            | submitted                           | reconciler
submitted  | unknown              | submitted                           | reconciler
submitted  | cancelled            | submitted                           | person planner
unknown    | absence_proven       | due held expired cancelled          | reconciler
unknown    | deleted              | removed                             | reconciler
unknown    | possible_match       | held                                | reconciler
unknown    | not_found            | unknown                             | reconciler
unknown    | published            | due held published                  | reconciler
unknown    | rate_limited         | unknown                             | reconciler
unknown    | rejected             | held failed                         | reconciler
unknown    | retraction_requested | retracting cancelled                | person
unknown    | revised              | unknown                             | planner
unknown    | resolved             | due retrying submitted unknown retracting held published retracted removed failed expired cancelled | person
unknown    | held                 | held                                | keeper reconciler
unknown    | submitted            | submitted                           | reconciler
unknown    | unknown              | unknown                             | reconciler
unknown    | cancelled            | unknown                             | person planner
retracting | absence_proven       | retracting retracted                | retractor
retracting | deleted              | retracted                           | retractor
retracting | possible_match       | held                                | retractor
retracting | not_found            | retracting                          | retractor
retracting | published            | retracting                          | retractor
retracting | rate_limited         | retracting                          | retractor
retracting | rejected             | retracting retracted                | retractor
retracting | resolved             | retracting retracted cancelled      | person
retracting | held                 | held                                | retractor
retracting | submitted            | retracting                          | retractor
retracting | unknown              | retracting                          | retractor
held       | retraction_requested | retracting cancelled                | person
held       | revised              | held                                | planner
held       | resolved             | due retrying submitted unknown retracting held published retracted removed failed expired cancelled | person
held       | cancelled            | held                                | person planner
published  | deleted              | removed                             | reconciler
published  | retraction_requested | retracting                          | person
"""  # noqa: E501 # a table's row is a line

Step = tuple[str, str]
"""A state and an event."""


def _steps() -> dict[Step, tuple[frozenset[str], frozenset[str]]]:
    cells = [[cell.strip() for cell in line.split("|")] for line in TABLE.strip().splitlines()]
    return {(before, event): (frozenset(to.split()), frozenset(who.split())) for before, event, to, who in cells}


STEPS = _steps()
"""For each state and event: where it may lead, and who may bring it."""
STATES = frozenset(state for (before, _event), (to, _who) in STEPS.items() for state in (before, *to))
