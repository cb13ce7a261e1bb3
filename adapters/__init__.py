"""The platforms that come with publisher. Nothing of an adapter is loaded before it is used."""

from collections.abc import Mapping

BUILT_IN_ADAPTERS: Mapping[str, str] = {
    "weibo": "adapters.weibo:WEIBO",
    "wechat": "adapters.wechat:WECHAT",
    "tieba": "adapters.tieba:TIEBA",
    "webhook": "adapters.webhook:WEBHOOK",
}
"""Platform name -> where its AdapterFactory stands, as `module:attribute`."""
