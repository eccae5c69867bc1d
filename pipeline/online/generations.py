"""What a store holds of a definition: which generation is current, which tails there are, and the names of the keys."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Self

import numpy as np

from schema.spec import RankingSpec, Split
from schema.stages import ingest_part
from serving.store.protocol import MAX_KEY_BYTES, OnlineStore, StoreError

# All definitions that the store holds anything of: their names, by digest.
DEFINITIONS = "definitions"
# Of how many batches `Updates.earliest` says something.
_BATCHES = 64
# What keys are of, beside the names of statistics, which have no point.
USER, ITEM, MANIFEST = "user.", "item.", b"manifest"
# What stands before the digest of a name: no text in UTF-8 begins so.
_DIGEST = b"\xff"


class DefinitionError(StoreError):
    """A store that holds nothing, or something else, of the definition that is asked for."""


def digest_of(spec: RankingSpec) -> str:
    """Returns 12 hexadecimal digits of all that the values depend on: what defines the examples, but not the files."""
    ingest_spec = ingest_part(spec)
    anywhere = {"files": ("*",)}
    clock = ingest_spec.log.timestamp.model_copy(update={"precision": None})
    log = ingest_spec.log.model_copy(update={**anywhere, "max_bad_rows": 0.0, "timestamp": clock})
    tables = {source: getattr(ingest_spec, source) for source in ("users", "items")}
    tables = {source: table and table.model_copy(update=anywhere) for source, table in tables.items()}
    text = ingest_spec.model_copy(update={"log": log, "split": Split(), **tables}).to_json()
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Generation:
    """What `materialize` has written at once.

    Attributes:
      digest: of the definition.
      name: 8 hexadecimal digits of what it was made of.
      until: the day (since 1970-01-01) up to whose end it is complete: rows of that folder and of earlier ones are in.
      earliest: the ticks before which no request can be answered by it.
      is_daily: whether the logs lie in daily folders; else a row's day is that of its time.
      precision: of the log's times, as `ingest.clock.with_precision` sets it.
      latest: the ticks of its last row.
      made: when it was made, in seconds since 1970.
      counts: values by what they are of, and their bytes.
    """

    digest: str
    name: str
    until: int
    earliest: int
    is_daily: bool
    precision: str | None
    latest: int
    made: float
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def prefix(self) -> bytes:
        """Returns what `OnlineStore.remove` takes."""
        return f"{self.digest}.{self.name}".encode()

    def key(self, kind: str, name: str) -> bytes:
        """Returns the key of what is of a user, an item, or a statistic's key."""
        return _key(self.prefix, kind, name)

    @property
    def manifest(self) -> bytes:
        """Returns the key of what is there as long as the generation is."""
        return b"%s/%s" % (self.prefix, MANIFEST)

    def with_precision(self, spec: RankingSpec) -> RankingSpec:
        """Returns the spec with the precision that the values were made with."""
        clock = spec.log.timestamp.model_copy(update={"precision": self.precision})
        return spec.model_copy(update={"log": spec.log.model_copy(update={"timestamp": clock})})

    def to_json(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Self:
        return cls(**json.loads(text))


@dataclass(frozen=True)
class Updates:
    """What events have added to the store since.

    Attributes:
      batches: how many have been counted.
      days: those that there are tails of.
      latest: the ticks of the latest row; None where there was none.
      wrote: when the last batch was written, in seconds since 1970.
      earliest: of batches the number, and the ticks before which neither it nor a later one has a row; both rise.
      unknown: up to which batch `earliest` doesn't say anything.
      ticks_per_second: of `latest`; 0 where it isn't known.
    """

    batches: int = 0
    days: tuple[int, ...] = ()
    latest: int | None = None
    wrote: float = 0.0
    earliest: tuple[tuple[int, int], ...] = ()
    unknown: int = 0
    ticks_per_second: int = 0

    def to_json(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_json(cls, text: bytes | None) -> Self:
        if text is None:
            return cls()
        values = json.loads(text)
        earliest = tuple((number, ticks) for number, ticks in values.get("earliest", ()))
        return cls(**{**values, "days": tuple(values["days"]), "earliest": earliest})

    def lag_seconds(self, now: float) -> float | None:
        """Returns how long before `now`, in seconds since 1970, the latest row was; None where none is known."""
        if self.latest is None or not self.ticks_per_second:
            return None
        return now - self.latest / self.ticks_per_second

    def with_batch(self, times: np.ndarray, days: Iterable[int], wrote: float, ticks_per_second: int) -> Self:
        """Returns the same after another batch, whose rows' times are in ticks."""
        number = self.batches + 1
        latest, earliest, unknown = self.latest, self.earliest, self.unknown
        if len(times):
            first, last = int(times.min()), int(times.max())
            latest = last if latest is None else max(latest, last)
            earliest = (*((batch, ticks) for batch, ticks in earliest if ticks < first), (number, first))
            unknown = earliest[-_BATCHES - 1][0] if len(earliest) > _BATCHES else unknown
            earliest = earliest[-_BATCHES:]
        return replace(
            self,
            batches=number,
            days=tuple(sorted({*self.days, *days})),
            latest=latest,
            wrote=wrote,
            earliest=earliest,
            unknown=unknown,
            ticks_per_second=ticks_per_second,
        )

    def are_since(self, batches: int, ticks: int) -> bool:
        """Returns whether all batches after the first `batches` are known to have no row before `ticks`."""
        if batches >= self.batches:
            return True
        return batches >= self.unknown and all(first >= ticks for number, first in self.earliest if number > batches)

    def without(self, until: int) -> Self:
        """Returns the same without the tails of days up to `until`."""
        number = self.batches + 1
        days = tuple(day for day in self.days if day > until)
        return replace(self, batches=number, days=days, earliest=(), unknown=number)


def tail_prefix(digest: str, day: int) -> bytes:
    """Returns the generation of keys that what events of a day have added is under."""
    return f"{digest}.t{day}".encode()


def tail_key(digest: str, day: int, kind: str, name: str) -> bytes:
    """Returns the key of what events of a day have added of a user or a statistic's key."""
    return _key(tail_prefix(digest, day), kind, name)


def _key(prefix: bytes, kind: str, name: str) -> bytes:
    """Returns a key; a name that is too long for a store, as an id or a category may be, stands in it as a digest."""
    key = b"%s/%s/%s" % (prefix, kind.encode(), name.encode())
    if len(key) <= MAX_KEY_BYTES:
        return key
    return b"%s/%s/%s%s" % (prefix, kind.encode(), _DIGEST, hashlib.sha256(name.encode()).hexdigest().encode())


def current_mark(digest: str) -> str:
    return f"{digest}/current"


def updates_mark(digest: str) -> str:
    return f"{digest}/updates"


def progress_mark(digest: str) -> str:
    return f"{digest}/progress"


def garbage_mark(digest: str) -> str:
    return f"{digest}/garbage"


def stream_mark(digest: str, stream: str) -> str:
    return f"{digest}/stream/{stream}"


def current(store: OnlineStore, digest: str) -> Generation | None:
    """Returns the generation that readers of a definition take; None where there is none."""
    text = store.mark(current_mark(digest))
    return None if text is None else Generation.from_json(text)


def require_current(store: OnlineStore, spec: RankingSpec) -> Generation:
    """Returns the generation that readers of a spec take.

    Raises:
      DefinitionError: the store has none of this definition.
    """
    digest = digest_of(spec)
    generation = current(store, digest)
    if generation is None:
        there = (
            ", ".join(f"{name} ({other_digest})" for other_digest, name in sorted(definitions(store).items()))
            or "nothing"
        )
        raise DefinitionError(
            f"the store holds nothing of {spec.name} as it is defined here (digest {digest}), but {there}; "
            "`fulcrum materialize` with this spec adds it"
        )
    return generation


def definitions(store: OnlineStore) -> dict[str, str]:
    """Returns the names of the specs that the store holds anything of, by digest."""
    text = store.mark(DEFINITIONS)
    return {} if text is None else json.loads(text)


def garbage(store: OnlineStore, digest: str) -> list[str]:
    """Returns the generations that are to be removed."""
    text = store.mark(garbage_mark(digest))
    return [] if text is None else json.loads(text)


def garbage_json(generations: Iterable[str]) -> bytes:
    return json.dumps(sorted(set(generations))).encode()
