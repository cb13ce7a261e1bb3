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
        facts = (f"{key}={value}" for key, value in self.facts.items() if not isinstance(value, Mapping))
        return "-".join([self.kind, *facts])


def _fault(kind: str, **facts: object) -> AdapterFault:
    return AdapterFault(kind=kind, facts=facts)


UNKNOWN_OUTCOME_FAULTS = (
    _fault("drop_before"),
    _fault("drop_after"),
    _fault("act_late"),
    _fault("truncate"),
    _fault("html"),
    _fault("html", acts=True),
    _fault("bad_json"),
    _fault("no_id"),
    *(_fault("status", code=code, acts=acts) for code in (500, 502, 503, 504) for acts in (False, True)),
    _fault("status", code=200, acts=True),
    _fault("status", code=302, headers={"location": "http://127.0.0.1:1/elsewhere"}, acts=True),
    _fault("status", code=307, headers={"location": "http://127.0.0.1:1/elsewhere"}),
    _fault("api_error", code=UNLISTED_ERROR_CODE),
    _fault("api_error", code=UNLISTED_ERROR_CODE, acts=True),
    _fault("delay"),
    _fault("delay", when="before"),
    _fault("drip"),
)
"""After these nobody can know whether a post was created: the only honest outcome is Unknown.

The last three respond after the timeout, or not to the end.
"""

ANSWERED_FAULTS = (
    _fault("status", code=429),
    _fault("status", code=429, headers={"retry-after": "120"}),
    _fault("captcha"),
    _fault("expire_token"),
    _fault("duplicate"),
    _fault("duplicate", acts=True),
    _fault("wrong_account"),
    _fault("review", seconds=30),
    _fault("review", seconds=30, verdict="refuse"),
    _fault("list_late", seconds=60),
)
"""The platform responds; the adapter's table decides what the response means."""

TEXT_REWRITES = ("spaces", "emoji", "tail", "punctuation", "width")

UNREADABLE_LIST_FAULTS = (
    _fault("drop_before"),
    _fault("html"),
    _fault("bad_json"),
    _fault("truncate"),
    _fault("no_id"),
    _fault("status", code=503),
    _fault("status", code=404),
    _fault("html", code=404),
    _fault("api_error", code=UNLISTED_ERROR_CODE),
    _fault("expire_token"),
    _fault("captcha"),
    _fault("empty_list"),
    _fault("reorder"),
    _fault("reorder", how="twice"),
)
"""Lists that do not show the existing posts."""

TRUNCATED_LIST_FAULTS = (
    _fault("rewrite", how="excerpt", characters=4, ending="…"),
    _fault("rewrite", how="excerpt", characters=12, ending=""),
    _fault("rewrite", how="excerpt", characters=12, ending="… 全文"),
    _fault("rewrite", how="excerpt", characters=30, ending="…"),
    _fault("rewrite", how="excerpt", characters=50, ending=""),
)
"""Lists that cut the texts, so that the marker may be lost."""

FAILED_READ_FAULTS = (_fault("drop_before"), _fault("html"), _fault("bad_json"), _fault("status", code=503))
"""Reads that return nothing usable."""

PROXY_FAULTS = (_fault("status", code=404), _fault("html", code=404), _fault("status", code=410))
"""Responses of a proxy that has lost the platform: they look like "no such post", and say nothing about it."""

UNCONFIRMED_DELETION_FAULTS = (*FAILED_READ_FAULTS, _fault("drop_after"), _fault("truncate"), *PROXY_FAULTS)
"""Responses to a deletion that do not show whether the post is gone."""

UPLOAD_FAULTS = (_fault("html"), _fault("status", code=400))
"""Responses to the calls before the creating one, such as the upload of a picture."""
