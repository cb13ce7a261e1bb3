"""The platforms that come with publisher. An adapter is imported only when it is used."""

from collections.abc import Mapping

BUILT_IN_ADAPTERS: Mapping[str, str] = {
    "weibo": "adapters.weibo:WEIBO",
    "wechat": "adapters.wechat:WECHAT",
    "tieba": "adapters.tieba:TIEBA",
    "webhook": "adapters.webhook:WEBHOOK",
}
"""Platform name -> its AdapterFactory, as `module:attribute`."""
