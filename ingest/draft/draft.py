"""A drafted spec as data: each section's entries with why they are there, and as commented YAML."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ingest.errors import IngestError


class DraftError(IngestError):
    """Logs of which no spec can be drafted; the message says what to do."""


@dataclass(frozen=True)
class Entry:
    """One entry of a section: what the spec declares, why, and what is unsure of it."""

    value: Any
    why: str = ""
    doubt: str = ""


@dataclass(frozen=True)
class Draft:
    """A whole spec. `left_out` has (source, column or event, why), in the order of the files.

    `log`, `users`, `items`, `gates` and `model` have an entry a key, the others an entry an element.
    """

    name: str
    about: str
    log: Mapping[str, Entry]
    users: Mapping[str, Entry] = field(default_factory=dict)
    items: Mapping[str, Entry] = field(default_factory=dict)
    features: Sequence[Entry] = ()
    left_out: Sequence[tuple[str, str, str]] = ()
    behaviours: Sequence[Entry] = ()
    tasks: Sequence[Entry] = ()
    statistics: Mapping[str, Entry] = field(default_factory=dict)
    split: Entry = Entry({"by": "time", "eval": 0.1, "test": 0.1})
    slices: Sequence[Entry] = ()
    gates: Mapping[str, Entry] = field(default_factory=dict)
    model: Mapping[str, Entry] = field(default_factory=dict)

    @property
    def doubts(self) -> list[tuple[str, str]]:
        """Returns where the draft is unsure, and of what."""
        sections = {"log": self.log, "users": self.users, "items": self.items, "statistics": self.statistics}
        doubts = [(f"{name}.{key}", entry.doubt) for name, keys in sections.items() for key, entry in keys.items()]
        lists = {"features": self.features, "behaviours": self.behaviours, "tasks": self.tasks}
        doubts += [(f"{name} ({entry.value['name']})", entry.doubt) for name, many in lists.items() for entry in many]
        return [(where, doubt) for where, doubt in doubts if doubt]


_HEAD = """\
# {about}
# A first draft by `fulcrum init`: every line is a guess from a sample of the rows. `# ?` says what it was unsure of;
# docs/spec.md explains each key.
"""


def as_yaml(draft: Draft) -> str:
    """Returns the draft as the text of a spec."""
    return "\n".join(_lines(draft)) + "\n"


def _lines(draft: Draft) -> Iterator[str]:
    yield _HEAD.format(about=one_line(draft.about)).rstrip()
    yield f"name: {scalar(draft.name)}"
    yield from _mapping("log", draft.log)
    for source in ("users", "items"):
        if section := getattr(draft, source):
            yield from _mapping(source, section)
    yield from _list("features", draft.features)
    if draft.left_out:
        yield "  # Left out:"
        yield from (f"  # - {source} {one_line(column)}: {one_line(why)}" for source, column, why in draft.left_out)
    yield from _list("behaviours", draft.behaviours)
    yield from _list("tasks", draft.tasks)
    if draft.statistics:
        yield from _mapping("statistics", draft.statistics)
    yield from _commented(f"split: {flow(draft.split.value)}", draft.split, "")
    yield from _list("slices", draft.slices)
    if draft.gates:
        yield "# What blesses a model. A binary task that isn't here has to reach AUC 0.5 (docs/evaluation.md)."
        yield from _mapping("gates", draft.gates)
    if draft.model:
        yield from _mapping("model", draft.model)


def _mapping(name: str, entries: Mapping[str, Entry]) -> Iterator[str]:
    yield f"{name}:"
    for key, entry in entries.items():
        yield from _commented(f"  {scalar(key)}: {flow(entry.value)}", entry, "  ")


def _list(name: str, entries: Sequence[Entry]) -> Iterator[str]:
    yield f"{name}:" if entries else f"{name}: []"
    for entry in entries:
        yield from _commented(f"  - {flow(entry.value)}", entry, "  ")


def _commented(line: str, entry: Entry, indent: str) -> Iterator[str]:
    if entry.doubt:
        yield f"{indent}# ? {one_line(entry.doubt)}"
    yield f"{line}  # {one_line(entry.why)}" if entry.why else line


def one_line(text: str) -> str:
    """Returns a text without what would end a comment or rule a terminal."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def flow(value: Any) -> str:
    """Returns a value as YAML in one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{scalar(key)}: {flow(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(flow, value)) + "]"
    return scalar(value)


_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./]*(?:[ -][A-Za-z0-9_./]+)*")
_WORDS = ("y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf")
_DURATION = re.compile(r"[0-9]{1,9}[smhd]")


def scalar(value: Any) -> str:
    """Returns a text, a number, true or false as YAML; texts in quotes where YAML may take them for something else."""
    if not isinstance(value, str):
        return json.dumps(value)
    is_plain = _PLAIN.fullmatch(value) and value.lower() not in _WORDS
    if is_plain or _DURATION.fullmatch(value):
        return value
    # JSON's escapes are YAML's; what a YAML file can't hold as it is, or takes for the end of a line, is one, too.
    escaped = json.dumps(value, ensure_ascii=False)
    return re.sub("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]", lambda match: f"\\u{ord(match[0]):04x}", escaped)


def listed(names: Iterable[str], most: int = 20) -> str:
    """Returns the first names as text, and how many more there are."""
    names = list(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")
