"""The address of the stream of changes to an open page."""

import html
import re


def find_stream(page: str) -> str:
    """Return the address of a page's stream; it names the contents of the page.

    Raises ValueError for a page without a stream.
    """
    found = re.search(r'hx-sse:connect="([^"]+)"', page)
    if found is None:
        raise ValueError(page[:200])
    return html.unescape(found[1])
