"""A reply that did not come in time is taken for a call that was not sent, and tried again.

Breaks I7 and I1 (F21, F23, F24): after `delay`, `drip` or `act_late` on a creating call the delivery goes to
`retrying` instead of `unknown`, a second call starts with no look stored, and the platform shows the post twice.
"""

from adapters._http import _Progress
from publisher.domain.outcome import NotSent, Unknown

_blame = _Progress.blame


def _retry_on_timeout(progress: _Progress, error: Exception) -> NotSent | Unknown:
    trouble = _blame(progress, error)
    return NotSent(reason="timeout") if trouble.reason == "timeout" else trouble


def plant() -> None:
    _Progress.blame = _retry_on_timeout
