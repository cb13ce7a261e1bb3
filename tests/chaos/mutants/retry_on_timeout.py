"""A reply that did not come in time is taken for a call that was not sent, and tried again.

Breaks I7 and I1 (F21, F23, F24): after `delay`, `drip` or `act_late` on a creating call the delivery goes to
`retrying` instead of `unknown`, a second call starts with no look stored, and the platform shows the post twice.
"""

from adapters._http import _RequestProgress
from publisher.domain.results import NotSent, Unknown

_blame = _RequestProgress.classify_error


def _retry_on_timeout(progress: _RequestProgress, error: Exception) -> NotSent | Unknown:
    trouble = _blame(progress, error)
    return NotSent(reason="timeout") if trouble.reason == "timeout" else trouble


def plant() -> None:
    _RequestProgress.classify_error = _retry_on_timeout
