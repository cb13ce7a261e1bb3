"""Convert a post's Markdown body to HTML or plain text. Pure.

The last results are cached for a post's other accounts and occurrences.
"""

import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from html import escape, unescape
from itertools import chain
from typing import Final

import css_inline
import nh3
from markdown_it import MarkdownIt
from markdown_it.token import Token

MAX_CACHED_BODIES: Final = 8
MAX_DEPTH: Final = 100
"""How deep elements of an article may be nested; Markdown's deepest lists need half of it."""

_TAGS: Final = {
    "section", "p", "span", "strong", "br", "img", "table", "thead", "tbody", "tr", "th", "td",
}  # fmt: skip
_ATTRIBUTES: Final = {"*": {"style"}, "img": {"style", "src", "alt", "data-w"}}
_STYLES: Final = {
    "background-color", "border", "border-bottom", "border-collapse", "border-color", "border-left",
    "border-radius", "border-right", "border-top", "box-sizing", "color", "display", "font-size",
    "font-weight", "letter-spacing", "line-height", "margin", "margin-bottom", "margin-left",
    "margin-right", "margin-top", "max-width", "padding", "padding-bottom", "padding-left",
    "padding-right", "padding-top", "text-align", "vertical-align", "width", "word-break",
}  # fmt: skip
_HTML_TAGS: Final = {
    "ul": ("section", "list"), "ol": ("section", "list"), "li": ("section", "item"),
    "em": ("span", "stress"), "blockquote": ("section", "quote"), "p": ("p", "text"),
    "table": ("table", "table"), "th": ("th", "head"), "td": ("td", "cell"),
} | {f"h{depth}": ("p", "heading") for depth in range(1, 7)}  # fmt: skip
_BULLET: Final = "• "
_PLAIN_TEXT_MARKS: Final = {
    "softbreak": "\n", "hardbreak": "\n", "heading_open": "【", "heading_close": "】\n",
    "hr": "————\n\n", "bullet_list_close": "\n", "ordered_list_close": "\n",
    "list_item_close": "\n", "table_close": "\n", "tr_close": "\n", "th_close": "　",
    "td_close": "　",
}  # fmt: skip
"""The plain text for Markdown tokens without content of their own."""
_LINE_END: Final = re.compile(r"(?<![^\S\n])[^\S\n]++\n")
_BETWEEN_TAGS: Final = re.compile(r">\s++(?=<)")
"""Pattern that reads every space once, as does the one before.

Neither starts within a run of spaces, nor backtracks over one.
"""
_TAG: Final = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9]*+)")
_VOID: Final = {
    "area",
    "base",
    "br",
    "col",
    "embed",
    "hr",
    "img",
    "input",
    "link",
    "meta",
    "source",
    "track",
    "wbr",
}
_EMPTY_LINES: Final = re.compile(r"\n{3,}")
_END_OF_BLOCK: Final = re.compile(
    r"</(?:p|div|section|blockquote|ul|ol|li|h[1-6]|tr)>|<br\s*/?>", re.IGNORECASE
)

_MARKDOWN: Final = (
    MarkdownIt("commonmark", {"html": False, "breaks": True})
    .enable("table")
    .disable(["image", "reference"])
)
"""References are text: a target written out at each of its uses would grow with their square."""


@lru_cache(maxsize=MAX_CACHED_BODIES)
def body_html(markdown: str, stylesheet: str) -> str:
    """Convert a body to HTML that platforms keep.

    It has a few tags with inline styles, and links written out as text.
    """
    return sanitize_html("".join(map(_token_html, _tokens(markdown))), stylesheet)


@lru_cache(maxsize=MAX_CACHED_BODIES)
def body_text(markdown: str) -> str:
    """Convert a body to plain text, with an empty line between paragraphs."""
    return tidy("".join(map(_token_text, _tokens(markdown))))


def text_html(text: str) -> str:
    """Convert plain text to HTML: a paragraph for each block of lines."""
    blocks = (
        escape(block, quote=False).replace("\n", "<br>") for block in text.split("\n\n")
    )
    return "".join(f'<p class="text">{block}</p>' for block in blocks)


def tidy(text: str) -> str:
    """Remove spaces at line ends, and all but one of several empty lines."""
    text = text.strip()
    return _EMPTY_LINES.sub("\n\n", _LINE_END.sub("\n", text)) if "\n" in text else text


def sanitize_html(html: str, stylesheet: str) -> str:
    """Inline the stylesheet, then remove all tags, attributes and styles that are not allowed."""
    html = _BETWEEN_TAGS.sub(
        lambda gap: ">" if "\n" in gap[0] else gap[0], html
    ).strip()
    if html:
        html = css_inline.inline_fragment(
            html, stylesheet, load_remote_stylesheets=False
        )
    return nh3.clean(
        html,
        tags=_TAGS,
        attributes=_ATTRIBUTES,
        filter_style_properties=_STYLES,
        url_schemes={"media"},
        url_relative="deny",
        link_rel=None,
    )


def is_too_deep(html: str) -> bool:
    """Return True if elements are nested deeper than any article needs.

    The inliner recurses into each. An unclosed element counts as open to the end, as in a browser
    for most tags.
    """
    depth = 0
    is_open: Counter[str] = Counter()
    for closes, written in _TAG.findall(html):
        name = written.lower()
        if closes and is_open[name]:
            is_open[name] -= 1
            depth -= 1
        elif not closes and name not in _VOID:
            is_open[name] += 1
            depth += 1
            if depth > MAX_DEPTH:
                return True
    return False


def visible_text(html: str) -> str:
    """Return the text of an article that readers see, with entities still escaped."""
    return nh3.clean(html, tags=set())


def article_lines(html: str) -> str:
    """Return an article as a terminal can show it.

    It is the article's text, a line for each block, without blank ones.
    """
    lines = unescape(visible_text(_END_OF_BLOCK.sub(r"\g<0>\n", html))).splitlines()
    return "\n".join(filter(None, map(str.strip, lines)))


def _tokens(markdown: str) -> Sequence[Token]:
    """Flatten Markdown into tokens.

    Links are written out. List items get a bullet and an unwrapped first paragraph.
    """
    flat: list[Token] = []
    is_tight: list[bool] = []
    links: list[tuple[str, int]] = []
    parsed = _MARKDOWN.parse(markdown)
    for token in chain.from_iterable(
        token.children or [] if token.type == "inline" else [token] for token in parsed
    ):
        match token.type:
            case "paragraph_open":
                is_tight.append(bool(flat) and flat[-1].type == "mark")
                token.hidden = token.hidden or is_tight[-1]
            case "paragraph_close":
                token.hidden = token.hidden or is_tight.pop()
            case "link_open":
                links.append((str(token.attrGet("href") or ""), len(flat)))
                continue
            case "link_close":
                target, start = links.pop()
                words = "".join(each.content for each in flat[start:])
                flat.append(_text("" if words in target else f"（{target}）"))
                continue
        flat.append(token)
        if token.type == "list_item_open":
            flat.append(
                _text(f"{token.info}. " if token.info else _BULLET, kind="mark")
            )
    return flat


def _text(content: str, kind: str = "text") -> Token:
    token = Token(kind, "", 0)
    token.content = content
    return token


def _token_html(token: Token) -> str:
    if token.hidden:
        return ""
    if token.type in {"softbreak", "hardbreak"}:
        return "<br>"
    if token.type == "hr":
        return '<section class="rule"></section>'
    if token.type in {"fence", "code_block"}:
        lines = "<br>".join(
            escape(line, quote=False) for line in token.content.rstrip().splitlines()
        )
        return f'<p class="text">{lines}</p>'
    if token.nesting == 0:
        return escape(token.content, quote=False)
    tag, name = _HTML_TAGS.get(token.tag, (token.tag, token.tag))
    return f"</{tag}>" if token.nesting < 0 else f'<{tag} class="{name}">'


def _token_text(token: Token) -> str:
    if token.type in {"paragraph_open", "bullet_list_open", "ordered_list_open"}:
        return "\n" if token.level and not token.hidden else ""
    if token.type == "paragraph_close":
        return "" if token.hidden else "\n\n"
    if token.type in {"fence", "code_block"}:
        return f"{token.content}\n"
    return _PLAIN_TEXT_MARKS.get(token.type, token.content)
