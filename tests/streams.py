"""The address of what changes on a page while it is open."""

import html
import re


def find_stream(page: str) -> str:
    """Return the address of a page's stream, which says what the page shows. Raises ValueError for a page without."""
    found = re.search(r'hx-sse:connect="([^"]+)"', page)
    if found is None:
        raise ValueError(page[:200])
    return html.unescape(found[1])
