"""The legal steps of a delivery, written down a second time: from, event, to, and who may bring it."""

TABLE = """
pending    | ExpiryPassed      | expired                             | deliverer keeper
pending    | Revised           | pending held                        | planner
pending    | Ripened           | due                                 | keeper
pending    | Stopped           | held                                | deliverer keeper planner reconciler retractor
pending    | Withdrawn         | cancelled                           | keeper person planner
due        | Claimed           | claimed                             | deliverer
due        | ExpiryPassed      | held expired                        | deliverer keeper
due        | RetractOrdered    | retracting cancelled                | person
due        | Revised           | pending due held                    | planner
due        | Stopped           | held                                | deliverer keeper planner reconciler retractor
due        | Withdrawn         | held cancelled                      | keeper person planner
retry_wait | ExpiryPassed      | held expired                        | deliverer keeper
retry_wait | RetractOrdered    | retracting cancelled                | person
retry_wait | Revised           | retry_wait pending held             | planner
retry_wait | Ripened           | due                                 | keeper
retry_wait | Stopped           | held                                | deliverer keeper planner reconciler retractor
retry_wait | Withdrawn         | held cancelled                      | keeper person planner
claimed    | ExpiryPassed      | held expired                        | deliverer keeper
claimed    | IntentWritten     | sending                             | deliverer
claimed    | LeaseLapsed       | due held                            | keeper
claimed    | Released          | due                                 | deliverer
claimed    | RetractOrdered    | retracting cancelled                | person
claimed    | Revised           | pending claimed held                | planner
claimed    | Stopped           | held                                | deliverer keeper planner reconciler retractor
claimed    | Withdrawn         | held cancelled                      | keeper person planner
sending    | Blocked           | retracting held                     | deliverer
sending    | Busy              | retry_wait retracting held cancelled | deliverer
sending    | CredentialExpired | retry_wait retracting held cancelled | deliverer
sending    | LeaseLapsed       | unknown due cancelled held retracting | keeper
sending    | NotSent           | retry_wait retracting held cancelled | deliverer
sending    | Published         | due retracting held published       | deliverer
sending    | RateLimited       | retry_wait retracting held cancelled | deliverer
sending    | Rejected          | retracting held failed              | deliverer
sending    | RetractOrdered    | sending                             | person
sending    | Revised           | sending                             | planner
sending    | Submitted         | submitted retracting                | deliverer
sending    | Unknown           | unknown retracting                  | deliverer
sending    | Withdrawn         | sending                             | person planner
submitted  | AbsenceShown      | submitted                           | reconciler
submitted  | Gone              | removed                             | reconciler
submitted  | Lookalike         | held                                | reconciler
submitted  | Missing           | submitted                           | reconciler
submitted  | Published         | due held published                  | reconciler
submitted  | RateLimited       | submitted                           | reconciler
submitted  | Rejected          | held failed                         | reconciler
submitted  | RetractOrdered    | retracting                          | person
submitted  | Revised           | submitted                           | planner
submitted  | Ruled             | due retry_wait submitted unknown retracting held published retracted removed failed expired cancelled | person
submitted  | Stopped           | held                                | keeper reconciler
submitted  | Submitted         | submitted                           | reconciler
submitted  | Unknown           | submitted                           | reconciler
submitted  | Withdrawn         | submitted                           | person planner
unknown    | AbsenceShown      | due held expired cancelled          | reconciler
unknown    | Gone              | removed                             | reconciler
unknown    | Lookalike         | held                                | reconciler
unknown    | Missing           | unknown                             | reconciler
unknown    | Published         | due held published                  | reconciler
unknown    | RateLimited       | unknown                             | reconciler
unknown    | Rejected          | held failed                         | reconciler
unknown    | RetractOrdered    | retracting cancelled                | person
unknown    | Revised           | unknown                             | planner
unknown    | Ruled             | due retry_wait submitted unknown retracting held published retracted removed failed expired cancelled | person
unknown    | Stopped           | held                                | keeper reconciler
unknown    | Submitted         | submitted                           | reconciler
unknown    | Unknown           | unknown                             | reconciler
unknown    | Withdrawn         | unknown                             | person planner
retracting | AbsenceShown      | retracting retracted                | retractor
retracting | Gone              | retracted                           | retractor
retracting | Lookalike         | held                                | retractor
retracting | Missing           | retracting                          | retractor
retracting | Published         | retracting                          | retractor
retracting | RateLimited       | retracting                          | retractor
retracting | Rejected          | retracting retracted                | retractor
retracting | Ruled             | retracting retracted cancelled      | person
retracting | Stopped           | held                                | retractor
retracting | Submitted         | retracting                          | retractor
retracting | Unknown           | retracting                          | retractor
held       | RetractOrdered    | retracting cancelled                | person
held       | Revised           | held                                | planner
held       | Ruled             | due retry_wait submitted unknown retracting held published retracted removed failed expired cancelled | person
held       | Withdrawn         | held                                | person planner
published  | Gone              | removed                             | reconciler
published  | RetractOrdered    | retracting                          | person
"""  # noqa: E501 # a table's row is a line

Step = tuple[str, str]
"""A state and an event."""


def _steps() -> dict[Step, tuple[frozenset[str], frozenset[str]]]:
    cells = [[cell.strip() for cell in line.split("|")] for line in TABLE.strip().splitlines()]
    return {(before, event): (frozenset(to.split()), frozenset(who.split())) for before, event, to, who in cells}


STEPS = _steps()
"""For each state and event: where it may lead, and who may bring it."""
STATES = frozenset(state for (before, _event), (to, _who) in STEPS.items() for state in (before, *to))
