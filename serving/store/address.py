"""A store's address as messages have it."""

import re


def shown(url: str) -> str:
    """Returns an address without user, password and options, whatever is wrong with it."""
    if url.startswith("sqlite:"):
        return url
    place = url.partition("?")[0]
    if "@" in url and "@" not in place:
        # A password has the question mark, or the at sign: nothing tells which.
        return url.partition("//")[0] + "//…"
    return re.sub(r"//.*@", "//", place, flags=re.DOTALL)
