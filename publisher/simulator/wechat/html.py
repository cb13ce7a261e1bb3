"""What WeChat does to an article's HTML before it stores it.

Scripts go, pictures from elsewhere are blanked, a link to elsewhere is refused (developers.weixin.qq.com,
api_draft_add and api_uploadimage). Content with nothing to object to is stored as it came, byte for byte.
"""

from html import escape
from html.parser import HTMLParser
from urllib.parse import urlsplit

from .ids import PICTURE_HOSTS

REMOVED_WITH_CONTENT = frozenset(
    {"script", "style", "iframe", "object", "form", "textarea", "select", "noscript", "title"}
)
"""Go together with what they hold."""
REMOVED_TAGS = frozenset(
    {"html", "head", "body", "meta", "link", "base", "embed", "input", "button", "frame", "frameset"}
)
"""Go, what they hold stays."""
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
        kept = [(name, self._clean_value(tag, name, value)) for name, value in attrs if not _is_forbidden(name)]
        if tag == "a":
            self._check_link(dict(attrs).get("href"))
        if kept == attrs:
            self.pieces.append(self.get_starttag_text() or "")
            return
        self.is_changed = True
        written = "".join(f" {name}" if value is None else f' {name}="{escape(value)}"' for name, value in kept)
        self.pieces.append(f"<{tag}{written}{'/' if closed else ''}>")

    def _clean_value(self, tag: str, name: str, value: str | None) -> str | None:
        if name in ("src", "xlink:href", "srcset", "poster") and value and not _is_own_picture(value):
            return ""
        if tag != "a" and name == "href" and value and not value.startswith("#"):
            return ""
        return value

    def _check_link(self, href: str | None) -> None:
        if href and not href.startswith("#") and urlsplit(href.strip()).hostname != LINK_HOST:
            self.has_foreign_link = True


def _is_forbidden(name: str) -> bool:
    return name in ("class", "id", "srcdoc") or name.startswith("on")


def _is_own_picture(address: str) -> bool:
    return urlsplit(address.strip()).hostname in PICTURE_HOSTS


def sanitise(html: str) -> str | None:
    """The HTML as it would be stored; None when it holds a link that is refused."""
    sanitiser = HtmlSanitiser()
    sanitiser.feed(html)
    sanitiser.close()
    if sanitiser.has_foreign_link:
        return None
    return "".join(sanitiser.pieces) if sanitiser.is_changed else html
