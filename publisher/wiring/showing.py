"""Who can show a post to one person before it goes out."""

from adapters.assisted import AssistedAdapter
from publisher.contract import Previewer
from publisher.domain.account import AccountId
from publisher.wiring.application import Application


def previewer_of(application: Application, account: AccountId) -> Previewer | None:
    """Give what shows posts on an account's platform; None where the platform cannot."""
    adapter = application.adapters[account]
    own = adapter.own if isinstance(adapter, AssistedAdapter) else adapter
    return own if isinstance(own, Previewer) else None
