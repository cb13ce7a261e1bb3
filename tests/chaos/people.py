"""The users that sign in during a campaign with approvals."""

from collections.abc import Mapping, Sequence

PASSWORD = (
    "eleven-officers-read-it-twice"  # of users of a campaign, which nobody else reaches
)
ADMIN, OPERATOR, APPROVERS, REWRITER = "zhou", "wang", ("li", "chen"), "hu"
"""The names of the people. The operator gives all other actions of a campaign.

The rewriter tries to approve a text that he has written himself.
"""
USERS: Mapping[str, tuple[str, Sequence[str]]] = {
    ADMIN: ("admin", ("administer",)),
    OPERATOR: ("operator", ("stop", "retract", "operate", "recover", "send")),
    **dict.fromkeys((*APPROVERS, REWRITER), ("approver", ("approve", "stop"))),
}
"""The role of each, and the scopes of their tokens."""
STAGES = {"default": [{"name": "审核", "people": 2}]}
"""The stages of every post: the preset `two persons`."""
