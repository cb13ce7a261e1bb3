"""Who signs in during a campaign with approvals."""

from collections.abc import Mapping, Sequence

PASSWORD = "eleven-officers-read-it-twice"  # of users of a campaign, which nobody else reaches
ADMIN, OPERATOR, APPROVERS, REWRITER = "zhou", "wang", ("li", "chen"), "hu"
"""By these names people act; the operator is who gives all other orders of a campaign. The rewriter tries
to approve what he has written himself."""
USERS: Mapping[str, tuple[str, Sequence[str]]] = {
    ADMIN: ("admin", ("administer",)),
    OPERATOR: ("operator", ("stop", "retract", "operate", "recover", "send")),
    **dict.fromkeys((*APPROVERS, REWRITER), ("approver", ("approve", "stop"))),
}
"""The role of each, and what their tokens are good for."""
STAGES = {"default": [{"name": "审核", "people": 2}]}
"""What every post must pass: the preset `two persons`."""
