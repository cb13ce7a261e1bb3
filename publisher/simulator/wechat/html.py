"""How WeChat cleans an article's HTML before it stores it.

Scripts are removed, external picture URLs are blanked, external links are refused
(developers.weixin.qq.com, api_draft_add and api_uploadimage). Clean content is stored unchanged,
byte for byte.
"""

from html import escape
from html.parser import HTMLParser
from urllib.parse import urlsplit

from .responses import PICTURE_HOSTS

REMOVED_WITH_CONTENT = frozenset(
    {
        "script",
        "style",
        "iframe",
        "object",
        "form",
        "textarea",
        "select",
        "noscript",
        "title",
    }
)
"""Tags that are removed together with their content."""
REMOVED_TAGS = frozenset(
    {
        "html",
        "head",
        "body",
        "meta",
        "link",
        "base",
        "embed",
        "input",
        "button",
        "frame",
        "frameset",
    }
)
"""Tags that are removed while their content stays."""
LINK_HOST = "mp.weixin.qq.com"
Attributes = list[tuple[str, str | None]]


class HtmlSanitiser(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.pieces: list[str] = []
        self.is_changed = False
        self.has_foreign_link = False
        self._inside: list[str] = []

    def handle_starttag(self, tag: str, attrs: Attributes) -> None:
        if tag in REMOVED_WITH_CONTENT:
            self.is_changed = True
            self._inside.append(tag)
        elif tag in REMOVED_TAGS:
            self.is_changed = True
        elif not self._inside:
            self._write_tag(tag, attrs, closed=False)

    def handle_startendtag(self, tag: str, attrs: Attributes) -> None:
        if tag in REMOVED_WITH_CONTENT or tag in REMOVED_TAGS:
            self.is_changed = True
        elif not self._inside:
            self._write_tag(tag, attrs, closed=True)

    def handle_endtag(self, tag: str) -> None:
        if tag in REMOVED_WITH_CONTENT:
            self.is_changed = True
            if tag in self._inside:
                del self._inside[self._inside.index(tag) :]
        elif tag in REMOVED_TAGS:
            self.is_changed = True
        else:
            self._emit(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        self._emit(data)

    def handle_entityref(self, name: str) -> None:
        self._emit(f"&{name};")

    def handle_charref(self, name: str) -> None:
        self._emit(f"&#{name};")

    def handle_comment(self, data: str) -> None:
        self._emit(f"<!--{data}-->")

    def handle_decl(self, _decl: str) -> None:
        self.is_changed = True

    def handle_pi(self, _data: str) -> None:
        self.is_changed = True

    def unknown_decl(self, _data: str) -> None:
        self.is_changed = True

    def _emit(self, text: str) -> None:
        if not self._inside:
            self.pieces.append(text)

    def _write_tag(self, tag: str, attrs: Attributes, *, closed: bool) -> None:
        cleaned = [
            (name, "" if value and self._is_external(tag, name, value) else value)
            for name, value in attrs
            if name not in ("class", "id", "srcdoc") and not name.startswith("on")
        ]
        href = dict(attrs).get("href") if tag == "a" else None
        if (
            href
            and not href.startswith("#")
            and urlsplit(href.strip()).hostname != LINK_HOST
        ):
            self.has_foreign_link = True
        if cleaned == attrs:
            self.pieces.append(self.get_starttag_text() or "")
            return
        self.is_changed = True
        attributes = "".join(
            f" {name}" if value is None else f' {name}="{escape(value)}"'
            for name, value in cleaned
        )
        self.pieces.append(f"<{tag}{attributes}{'/' if closed else ''}>")

    def _is_external(self, tag: str, name: str, value: str) -> bool:
        """True if the attribute loads something from another host.

        Links of `a` are refused elsewhere.
        """
        if name in ("src", "xlink:href", "srcset", "poster"):
            return urlsplit(value.strip()).hostname not in PICTURE_HOSTS
        return tag != "a" and name == "href" and not value.startswith("#")


def sanitise(html: str) -> str | None:
    """Return the HTML as it would be stored; None if it contains a refused link."""
    sanitiser = HtmlSanitiser()
    sanitiser.feed(html)
    sanitiser.close()
    if sanitiser.has_foreign_link:
        return None
    return "".join(sanitiser.pieces) if sanitiser.is_changed else html
