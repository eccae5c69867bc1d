"""Names of files -> the globs of a spec, which name these files and no other."""

import posixpath
import re
from collections.abc import Iterable

from ingest.sources import COMPRESSIONS

# What lies beside data, by how its name ends.
_NO_DATA = (
    "md",
    "rst",
    "html",
    "htm",
    "pdf",
    "py",
    "ipynb",
    "r",
    "sh",
    "sql",
    "yaml",
    "yml",
    "toml",
    "png",
    "jpg",
    "jpeg",
    "gif",
    "svg",
    "log~",
    "bak",
    "license",
)
_UUID = r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
_DAY = re.compile(r"(?:[A-Za-z_][A-Za-z0-9_]*=)?(?:\d{4}-\d{2}-\d{2}|\d{8})")
_WILD = re.compile(rf"{_UUID}|\d+")


def is_data(path: str) -> bool:
    """Returns whether a file may hold rows, by its name."""
    name = posixpath.basename(path).lower()
    stem, _, extension = name.rpartition(".")
    return extension not in _NO_DATA and (stem or extension) not in ("readme", "license", "changelog", "notice")


def is_day(folder: str) -> bool:
    """Returns whether a folder is named by its day: `2026-01-01`, `20260101`, `dt=2026-01-01`."""
    return _DAY.fullmatch(folder) is not None


def in_day_folder(path: str) -> bool:
    """Returns whether the first folder of a path, relative to the logs, is a day's."""
    folder, slash, _ = path.partition("/")
    return bool(slash) and is_day(folder)


def pattern_of(path: str) -> str:
    """Returns the path of a file relative to the logs with its numbers as `*`, without a folder of its day.

    Numbers in the ending, such as that of `.bz2`, stay.
    """
    path = path.partition("/")[2] if in_day_folder(path) else path
    stem, ending = _without_endings(path)
    # A character that has a meaning in a glob stands for itself as `?`.
    pattern = _WILD.sub("*", re.sub(r"[*?\[\]]", "?", stem))
    # `2026-01-01` is one `*`.
    return re.sub(r"\*(?:[-_.:]?\*)+", "*", pattern) + ending


def _without_endings(path: str) -> tuple[str, str]:
    stem, ending = path, ""
    for _ in range(2):
        rest, extension = posixpath.splitext(stem)
        if not extension or not rest.rpartition("/")[2]:
            break
        if extension.lower() not in COMPRESSIONS and re.fullmatch(r"\.\d+", extension):
            break
        stem, ending = rest, extension + ending
        if extension.lower() not in COMPRESSIONS:
            break
    return stem, ending


def grouped(paths: Iterable[str]) -> dict[str, list[str]]:
    """Returns the paths by their pattern; a file that is alone goes by its name, without wildcards."""
    groups: dict[str, list[str]] = {}
    for path in sorted(paths):
        groups.setdefault(pattern_of(path), []).append(path)
    return {
        members[0] if len(members) == 1 and not in_day_folder(members[0]) else pattern: members
        for pattern, members in groups.items()
    }
