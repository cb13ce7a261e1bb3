"""The legal steps of a delivery, a second time: from, event, to, and permitted roles."""

TABLE = """
pending    | approval_missing     | pending                             | maintenance
pending    | approved             | pending                             | person
pending    | expired              | expired                             | maintenance sender
pending    | revised              | pending held                        | planner
pending    | became_due           | due                                 | maintenance
pending    | held                 | held                                | maintenance planner reconciler retractor sender
pending    | cancelled            | cancelled                           | maintenance person planner
due        | claimed              | claimed                             | sender
due        | expired              | held expired                        | maintenance sender
due        | retraction_requested | retracting cancelled                | person
due        | revised              | pending due held                    | planner
due        | held                 | held                                | maintenance planner reconciler retractor sender
due        | cancelled            | held cancelled                      | maintenance person planner
retrying | expired              | held expired                        | maintenance sender
retrying | retraction_requested | retracting cancelled                | person
retrying | revised              | retrying pending held             | planner
retrying | became_due           | due                                 | maintenance
retrying | held                 | held                                | maintenance planner reconciler retractor sender
retrying | cancelled            | held cancelled                      | maintenance person planner
claimed    | approval_missing     | pending due                         | sender
claimed    | expired              | held expired                        | maintenance sender
claimed    | attempt_started      | sending                             | sender
claimed    | lease_expired        | due held                            | maintenance
claimed    | released             | due                                 | sender
claimed    | retraction_requested | retracting cancelled                | person
claimed    | revised              | pending claimed held                | planner
claimed    | held                 | held                                | maintenance planner reconciler retractor sender
claimed    | cancelled            | held cancelled                      | maintenance person planner
sending    | blocked              | retracting held                     | sender
sending    | busy                 | retrying retracting held cancelled | sender
sending    | credential_expired   | retrying retracting held cancelled | sender
sending    | lease_expired        | unknown due cancelled held retracting | maintenance
sending    | not_sent             | retrying retracting held cancelled | sender
sending    | published            | due retracting held published       | sender
sending    | rate_limited         | retrying retracting held cancelled | sender
sending    | rejected             | retracting held failed              | sender
sending    | retraction_requested | sending                             | person
sending    | revised              | sending                             | planner
sending    | submitted            | submitted retracting                | sender
sending    | unknown              | unknown retracting                  | sender
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
submitted  | held                 | held                                | maintenance reconciler
submitted  | submitted            | submitted                           | reconciler
submitted  | unknown              | submitted                           | reconciler
submitted  | cancelled            | submitted                           | person planner
unknown    | absence_proven       | due held expired cancelled          | reconciler
unknown    | review_possible      | unknown held                        | reconciler
unknown    | deleted              | removed                             | reconciler
unknown    | possible_match       | held                                | reconciler
unknown    | not_found            | unknown                             | reconciler
unknown    | published            | due held published                  | reconciler
unknown    | rate_limited         | unknown                             | reconciler
unknown    | rejected             | held failed                         | reconciler
unknown    | retraction_requested | retracting cancelled                | person
unknown    | revised              | unknown                             | planner
unknown    | resolved             | due retrying submitted unknown retracting held published retracted removed failed expired cancelled | person
unknown    | held                 | held                                | maintenance reconciler
unknown    | submitted            | submitted                           | reconciler
unknown    | unknown              | unknown                             | reconciler
unknown    | cancelled            | unknown                             | person planner
retracting | absence_proven       | retracting retracted                | retractor
retracting | review_possible      | retracting                          | retractor
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
held       | sign_in_renewed      | retrying held cancelled             | reconciler
held       | cancelled            | held                                | person planner
published  | deleted              | removed                             | reconciler
published  | retraction_requested | retracting                          | person
cancelled  | reinstated           | pending held                        | planner
expired    | reinstated           | pending held                        | planner
"""  # noqa: E501 # a table's row is a line

Step = tuple[str, str]
"""A state and an event."""


def _steps() -> dict[Step, tuple[frozenset[str], frozenset[str]]]:
    cells = [
        [cell.strip() for cell in line.split("|")]
        for line in TABLE.strip().splitlines()
    ]
    return {
        (before, event): (frozenset(to.split()), frozenset(who.split()))
        for before, event, to, who in cells
    }


STEPS = _steps()
"""For each state and event: the next states, and the roles that may bring it."""
STATES = frozenset(
    state for (before, _event), (to, _who) in STEPS.items() for state in (before, *to)
)
