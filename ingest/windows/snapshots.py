"""The store of what earlier days carry on: `<state>/<what it is for>/<day>/<days that are in it>/`.

A snapshot of a day holds what was known at its start (`carried.carried`), in Parquet files, and a manifest, written
last, that names the files and each day that went in. Its name is that of its content, and it is never changed: to
write it twice writes the same bytes, and one that isn't whole has no manifest.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date

import orjson
from apache_beam.io.filesystem import BeamIOError
from apache_beam.io.filesystems import FileSystems

from ingest.encoding.tfrecord import write_whole
from ingest.sources import SourceFile, digest_of
from ingest.windows.window import DailyLogs, stamp
from schema.spec import RankingSpec
from schema.stages import snapshot_part

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Day:
    """A day that went into a snapshot: what a listing told of its files, and a digest of what they hold."""

    stamp: str
    content: str


@dataclass(frozen=True)
class Snapshot:
    """What was known at the start of `day`, all of `days` having gone in; `parts` are its Parquet files."""

    day: date
    folder: str
    days: Mapping[date, Day]
    parts: tuple[tuple[str, int], ...] = ()

    @property
    def files(self) -> tuple[SourceFile, ...]:
        return tuple(
            SourceFile("history", index, FileSystems.join(self.folder, name), size)
            for index, (name, size) in enumerate(self.parts)
        )


def latest_valid(home: str, first: date, daily: DailyLogs) -> Snapshot | None:
    """Finds the latest snapshot in `home`, not after `first`, of the logs as they are now; None where there is none.

    Of the days before it the logs may have lost the oldest, and no other; one that has changed makes the snapshots that
    it is in invalid. Only the listing is looked at, and where that differs, that day's files.
    """
    for snapshot in _snapshots(home, first):
        if _still_holds(snapshot, daily):
            return snapshot
    return None


def planned(
    home: str, day: date, earlier: Snapshot | None, daily: DailyLogs, files: tuple[SourceFile, ...]
) -> Snapshot:
    """Returns where the snapshot of `day` goes in `home`, made of an earlier one and of the days since (`files`)."""
    days = dict(earlier.days) if earlier else {}
    since = {file.day for file in files if file.source == "log" and file.day and file.day < day}
    for past_day in sorted(since):
        content = digest_of(file for file in files if file.source == "log" and file.day == past_day)
        days[past_day] = Day(stamp(daily[past_day]), content)
    contents = "".join(f"{past_day} {days[past_day].content}\n" for past_day in sorted(days))
    lineage = hashlib.sha256(contents.encode()).hexdigest()
    return Snapshot(day, FileSystems.join(home, str(day), lineage[:16]), days)


def publish(snapshot: Snapshot, buckets: int) -> None:
    """Makes a snapshot whole, whose parts have been written.

    Raises:
      OSError: the manifest can't be written.
    """
    pattern = FileSystems.join(snapshot.folder, part_name("*", buckets))
    parts = FileSystems.match([pattern])[0].metadata_list
    manifest = {
        "parts": sorted([FileSystems.split(file.path)[1], file.size_in_bytes] for file in parts),
        "days": {str(day): [past_day.stamp, past_day.content] for day, past_day in snapshot.days.items()},
    }
    write_whole(FileSystems.join(snapshot.folder, MANIFEST), [orjson.dumps(manifest)], scratch_of(snapshot.folder))


def part_name(bucket: int | str, buckets: int) -> str:
    number = f"{bucket:05d}" if isinstance(bucket, int) else bucket
    return f"part-{number}-of-{buckets:05d}.parquet"


def scratch_of(folder: str) -> str:
    return FileSystems.join(folder, "_scratch")


def home_of(spec: RankingSpec, state: str) -> str:
    """Returns the folder of the snapshots of a spec; all that says which rows count, and as what, is in its name."""
    digest = hashlib.sha256(snapshot_part(spec).to_json().encode()).hexdigest()
    return FileSystems.join(state, f"{spec.name}-{digest[:12]}")


def _snapshots(home: str, first: date) -> Iterator[Snapshot]:
    """Yields the whole snapshots of days up to `first`, the latest first, each read when it is asked for."""
    try:
        manifests = FileSystems.match([FileSystems.join(home, "*", "*", MANIFEST)])[0].metadata_list
    except BeamIOError:
        return
    for path in sorted((file.path for file in manifests), reverse=True):
        folder = FileSystems.split(path)[0]
        day = date.fromisoformat(FileSystems.split(FileSystems.split(folder)[0])[1])
        if day <= first:
            with FileSystems.open(path) as stream:
                manifest = orjson.loads(stream.read())
            days = {date.fromisoformat(name): Day(*fields) for name, fields in manifest["days"].items()}
            yield Snapshot(day, folder, days, tuple((name, size) for name, size in manifest["parts"]))


def _still_holds(snapshot: Snapshot, daily: DailyLogs) -> bool:
    here = {day for day in daily if day < snapshot.day}
    # A day that the logs have lost is known from the snapshot alone: there may be no day left before it.
    lost = set(snapshot.days) - here
    if here - set(snapshot.days) or (lost and here and max(lost) > min(here)):
        return False
    return all(_unchanged(snapshot.days[day], day, daily) for day in sorted(here))


def _unchanged(then: Day, day: date, daily: DailyLogs) -> bool:
    if stamp(daily[day]) == then.stamp:
        return True
    files = [SourceFile("log", i, file.path, file.size_in_bytes, day) for i, file in enumerate(daily[day])]
    return digest_of(files) == then.content
