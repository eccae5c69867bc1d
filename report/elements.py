"""What a page is made of: sections of sentences, tables and charts. Plain values; `page.render` makes HTML of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

# A chart as Vega-Lite's JSON has it.
Chart = Mapping[str, Any]
Tone = Literal["", "good", "bad", "unsure"]


@dataclass(frozen=True)
class Cell:
    """A table's cell: what it says, what it is sorted by, how it is meant, and what stands small below it."""

    text: str
    sort_by: float | str | None = None
    tone: Tone = ""
    detail: str = ""


@dataclass(frozen=True)
class Table:
    """A table with a caption. Its first column names the row.

    Args:
      numeric: the columns that hold figures, which stand to the right.
      sortable: whether the reader may order the rows by a column.
      filter_by: the column by whose values the reader may choose rows; the table then has a search as well.
    """

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    numeric: Sequence[str] = ()
    sortable: bool = False
    filter_by: str | None = None

    def choices(self) -> list[str]:
        """Returns the values of the column that is filtered by, in the order in which they first stand."""
        if self.filter_by is None:
            return []
        column = self.columns.index(self.filter_by)
        return list(dict.fromkeys(row[column].text for row in self.rows))


@dataclass(frozen=True)
class Figure:
    """One chart or several to choose from, by the name under which the reader chooses.

    Args:
      caption: says what is seen, for those too who do not see it.
      choose: what the names are, such as "Task".
    """

    caption: str
    charts: Mapping[str, Chart]
    choose: str = ""


@dataclass(frozen=True)
class Facts:
    """Names with what they say, such as a place or a number."""

    pairs: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Beside:
    """Blocks beside each other where the page is wide enough."""

    blocks: Sequence["Block"]


@dataclass(frozen=True)
class Group:
    """Blocks that belong together and are folded away until the reader opens them."""

    title: str
    blocks: Sequence["Block"]


Block = str | Table | Figure | Facts | Beside | Group


@dataclass(frozen=True)
class Section:
    """A part of the page. A `str` among the blocks is a paragraph."""

    name: str
    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Verdict:
    """What the reader came for, in a word and a sentence, with the reasons one by one.

    Args:
      lead: what stands above the reasons, a sentence.
      tasks: what became of each task, in a few words and a tone.
    """

    word: str
    sentence: str
    tone: Tone
    reasons: Sequence[str] = ()
    lead: str = ""
    tasks: Sequence[Cell] = ()


@dataclass(frozen=True)
class Page:
    """A whole page."""

    title: str
    subtitle: str
    verdict: Verdict | None = None
    sections: Sequence[Section] = ()
