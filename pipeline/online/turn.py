"""Whose turn it is to write a definition's next generation, and how far it has come: one `materialize` at a time."""

import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Self

from pipeline.online import generations
from pipeline.online.generations import Generation
from serving.store.protocol import NO_EXPECTATIONS, NO_MARKS, ConflictError, Marks, OnlineStore, StoreError


class OvertakenError(StoreError):
    """A generation that is given up, since another `materialize` of its definition has begun."""


@dataclass(frozen=True)
class Written:
    """How far a generation has been written.

    Attributes:
      name: of the generation; empty where none is being written.
      done: how many steps.
      rows: the token of the sorted rows that these were made of (`reading.SortedRows`).
      counts: values so far, as in `Generation.counts`.
      writer: whose turn it is.
    """

    name: str = ""
    done: int = 0
    rows: str = ""
    counts: dict[str, int] = field(default_factory=dict)
    writer: str = ""

    def to_json(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_json(cls, text: bytes | None) -> Self:
        return cls(**json.loads(text or b"{}"))


class Turn:
    """Writes as long as nobody else's turn has begun.

    Of a writer that was killed nobody knows, so that whoever comes takes the turn, and one that lives on is refused.
    """

    def __init__(self, store: OnlineStore, digest: str):
        self._store, self._digest = store, digest
        self._mark, self._text = generations.progress_mark(digest), b""
        self.written = Written()

    def begin(self, name: str, before: Generation | None) -> str:
        """Takes the turn, and goes on with a generation where it was left.

        Args:
          before: the generation that is to be replaced.

        Returns:
          The name of the generation that was left unfinished, which is garbage if it is another one; empty without any.

        Raises:
          OvertakenError: another one has replaced it.
        """
        text, current = (self._store.mark(mark) for mark in (self._mark, generations.current_mark(self._digest)))
        left, writer = Written.from_json(text), uuid.uuid4().hex
        self.written = replace(left, writer=writer) if left.name == name else Written(name, writer=writer)
        marks = {self._mark: self.written.to_json()}
        if (None if current is None else Generation.from_json(current)) != before:
            raise self._overtaken()
        if left.name not in ("", name):
            gone = [*generations.garbage(self._store, self._digest), f"{self._digest}.{left.name}"]
            marks[generations.garbage_mark(self._digest)] = generations.garbage_json(gone)
        try:
            self._store.write([], marks, {self._mark: text, generations.current_mark(self._digest): current})
        except ConflictError:
            raise self._overtaken() from None
        self._text = marks[self._mark]
        return left.name

    def write(
        self,
        values: Iterable[tuple[bytes, bytes]],
        marks: Marks = NO_MARKS,
        expected: Mapping[str, bytes | None] = NO_EXPECTATIONS,
    ) -> None:
        """Writes as `OnlineStore.write`.

        Raises:
          OvertakenError: it is another one's turn; nothing was written.
          ConflictError: one of the `expected` marks is another.
        """
        try:
            self._store.write(values, marks, {**expected, self._mark: self._text})
        except ConflictError:
            if self._store.mark(self._mark) != self._text:
                raise self._overtaken() from None
            raise
        self._text = marks.get(self._mark, self._text)

    def advance(self, rows: str, done: int, counts: Mapping[str, int]) -> None:
        """Writes down how many steps are done, and of which rows. Raises as `write`."""
        self.written = replace(self.written, rows=rows, done=done, counts=dict(counts))
        self.write([], {self._mark: self.written.to_json()})

    def _overtaken(self) -> OvertakenError:
        return OvertakenError(
            f"generation {self.written.name}: another `fulcrum materialize` of this definition ({self._digest}) has "
            "written to the store since this one began; expected one at a time. Readers have lost nothing: once the "
            "other has ended, run this one again"
        )
