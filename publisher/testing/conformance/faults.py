"""The faults that the kit injects, grouped by the outcome that an adapter may report."""

from collections.abc import Mapping
from dataclasses import dataclass, field

UNLISTED_ERROR_CODE = 999_999
"""An error code that no platform has, so that no adapter's table lists it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterFault:
    kind: str
    facts: Mapping[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        facts = (
            f"{key}={value}"
            for key, value in self.facts.items()
            if not isinstance(value, Mapping)
        )
        return "-".join([self.kind, *facts])


def make_fault(kind: str, **facts: object) -> AdapterFault:
    return AdapterFault(kind=kind, facts=facts)


SERVER_ERRORS = (500, 502, 503, 504)
SERVER_ERROR_FAULTS = tuple(make_fault("status", code=code) for code in SERVER_ERRORS)
"""The platform, or a gateway before it, has a fault of its own: its interface is as it was."""

UNKNOWN_OUTCOME_FAULTS = (
    make_fault("drop_before"),
    make_fault("drop_after"),
    make_fault("act_late"),
    make_fault("truncate"),
    make_fault("html"),
    make_fault("html", acts=True),
    make_fault("bad_json"),
    make_fault("no_id"),
    *(
        make_fault("status", code=code, acts=acts)
        for code in SERVER_ERRORS
        for acts in (False, True)
    ),
    make_fault("status", code=500, body='{"error":"down"}', acts=True),
    make_fault("status", code=200, acts=True),
    make_fault(
        "status",
        code=302,
        headers={"location": "http://127.0.0.1:1/elsewhere"},
        acts=True,
    ),
    make_fault(
        "status", code=307, headers={"location": "http://127.0.0.1:1/elsewhere"}
    ),
    make_fault("api_error", code=UNLISTED_ERROR_CODE),
    make_fault("api_error", code=UNLISTED_ERROR_CODE, acts=True),
    make_fault("delay"),
    make_fault("delay", when="before"),
    make_fault("drip"),
)
"""After these nobody can know whether a post was created: the only honest outcome is Unknown.

The last three respond after the timeout, or not to the end.
"""

ANSWERED_FAULTS = (
    make_fault("status", code=429),
    make_fault("status", code=429, headers={"retry-after": "120"}),
    make_fault("captcha"),
    make_fault("expire_token"),
    make_fault("duplicate"),
    make_fault("duplicate", acts=True),
    make_fault("wrong_account"),
    make_fault("review", seconds=30),
    make_fault("review", seconds=30, verdict="refuse"),
    make_fault("list_late", seconds=60),
)
"""Faults of a platform that responds.

The adapter's table decides the meaning of the response.
"""

TEXT_REWRITES = ("spaces", "emoji", "tail", "punctuation", "width")

UNREADABLE_LIST_FAULTS = (
    make_fault("drop_before"),
    make_fault("html"),
    make_fault("bad_json"),
    make_fault("truncate"),
    make_fault("no_id"),
    make_fault("status", code=503),
    make_fault("status", code=404),
    make_fault("html", code=404),
    make_fault("api_error", code=UNLISTED_ERROR_CODE),
    make_fault("expire_token"),
    make_fault("captcha"),
    make_fault("empty_list"),
    make_fault("reorder"),
    make_fault("reorder", how="twice"),
)
"""Lists that do not show the existing posts."""

TRUNCATED_LIST_FAULTS = (
    make_fault("rewrite", how="excerpt", characters=4, ending="…"),
    make_fault("rewrite", how="excerpt", characters=12, ending=""),
    make_fault("rewrite", how="excerpt", characters=12, ending="… 全文"),
    make_fault("rewrite", how="excerpt", characters=30, ending="…"),
    make_fault("rewrite", how="excerpt", characters=50, ending=""),
    make_fault("rewrite", how="excerpt", characters=12, torn=True),
)
"""Lists that cut the texts, so that the marker may be lost; the last one cuts within an emoji."""

FAILED_READ_FAULTS = (
    make_fault("drop_before"),
    make_fault("html"),
    make_fault("bad_json"),
    make_fault("status", code=503),
)
"""Reads that return nothing usable."""

PROXY_FAULTS = (
    make_fault("status", code=404),
    make_fault("html", code=404),
    make_fault("status", code=410),
)
"""Responses of a proxy that has lost the platform.

They look like "no such post", and say nothing about it.
"""

UNCONFIRMED_DELETION_FAULTS = (
    *FAILED_READ_FAULTS,
    make_fault("drop_after"),
    make_fault("truncate"),
    *PROXY_FAULTS,
)
"""Responses to a deletion that do not show whether the post is gone."""

UPLOAD_FAULTS = (make_fault("html"), make_fault("status", code=400))
"""Responses to the calls before the creating one, such as the upload of a picture."""
