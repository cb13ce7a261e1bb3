"""Who can show a post to one person before it goes out."""

from adapters.manual import ManualPostingAdapter
from publisher.app.application import Application
from publisher.contract import PostPreviewer
from publisher.domain.account import AccountId


def find_previewer(application: Application, account: AccountId) -> PostPreviewer | None:
    """Give what shows posts on an account's platform; None where the platform cannot."""
    adapter = application.adapters[account]
    own = adapter.inner if isinstance(adapter, ManualPostingAdapter) else adapter
    return own if isinstance(own, PostPreviewer) else None
