"""A rolling window of logs that lie in a folder a day: `2026-11-21/`, `2026-11-22/`, …

A day is one of the log's time zone (UTC where it names none), and its folder holds the rows that arrived for it: their
times lie in it, but for what `log.allowed_lateness` lets in before and after. What a run is given is both ends of the
window, never "the latest": a day that is missing is found out, and not replaced by an older one.
"""

import hashlib
import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from apache_beam.io.filesystem import FileMetadata

from ingest.errors import IngestError
from ingest.rows import read_source
from ingest.sources import (
    SourceFile,
    content_digest,
    digest_of,
    exists,
    match_files,
    matched,
    source_files,
)
from ingest.times import day_start
from schema.spec import RankingSpec

_WINDOW = re.compile(r"([1-9][0-9]{0,3})d:([0-9]{4}-[0-9]{2}-[0-9]{2})")
_EPOCH = date(1970, 1, 1)
_DAY_S = 86_400


def day_number(day: date) -> int:
    """Returns the days since 1970-01-01."""
    return (day - _EPOCH).days


def day_of_number(number: int) -> date:
    return _EPOCH + timedelta(days=number)


@dataclass(frozen=True)
class Window:
    """The days from `first` to `last`, both included."""

    first: date
    last: date

    @classmethod
    def parse(cls, text: str) -> "Window":
        """Parses a window: `7d:2026-11-25` is the seven days up to and including the 25th.

        Raises:
          IngestError: the text is no window.
        """
        match = _WINDOW.fullmatch(text)
        try:
            if match:
                last = date.fromisoformat(match[2])
                return cls(last - timedelta(days=int(match[1]) - 1), last)
        except (ValueError, OverflowError):
            pass
        raise IngestError(f"window: expected DAYS:LAST such as 7d:2026-11-25 (both ends included), got {text!r}")

    def __str__(self) -> str:
        return f"{(self.last - self.first).days + 1}d:{self.last}"

    @property
    def days(self) -> tuple[date, ...]:
        return days_between(self.first, self.last)


def days_between(first: date, last: date) -> tuple[date, ...]:
    return tuple(first + timedelta(days=number) for number in range((last - first).days + 1))


def shown_days(days: Sequence[date]) -> str:
    """Returns the first few, and how many more there are, as text."""
    return ", ".join(map(str, days[:5])) + (f" and {len(days) - 5:,} more" if len(days) > 5 else "")


def earliest(spec: RankingSpec, day: date) -> int:
    """Returns the time, in ticks, before which no row of the day's folder or of a later one lies."""
    clock = spec.log.timestamp
    return (day_start(day_number(day), clock) - spec.log.allowed_lateness) * clock.ticks_per_second


def times_of(spec: RankingSpec, file: SourceFile) -> tuple[int, int] | None:
    """Returns the times `[low, high)`, in ticks, that a daily file's rows may have; None where any will do."""
    if file.source != "log" or file.day is None:
        return None
    after = day_start(day_number(file.day) + 1, spec.log.timestamp) + spec.log.allowed_lateness
    return earliest(spec, file.day), after * spec.log.timestamp.ticks_per_second


# The files of the log in each day's folder, sorted by path.
DailyLogs = Mapping[date, tuple[FileMetadata, ...]]


def daily_logs(spec: RankingSpec, logs: str) -> DailyLogs:
    """Lists every file of the log by its day; nothing is read.

    Raises:
      IngestError: there is no daily folder with such files, or a folder is named by almost a day.
    """
    files_by_day = _by_day(logs, spec.log.files)
    if not files_by_day:
        raise IngestError(
            f"log.files: no folder of a day (YYYY-MM-DD) in {logs} holds a file that matches {_listed(spec.log.files)}"
            + ("" if exists(logs) else ", and that folder does not exist")
        )
    return files_by_day


def log_files(spec: RankingSpec, logs: str, window: Window) -> list[SourceFile]:
    """Returns the log's files in the folders of the window's days, as far as there are any."""
    daily = daily_logs(spec, logs)
    return [file for day in window.days for file in _numbered(spec, "log", day, daily.get(day, ()))]


def _by_day(logs: str, patterns: Iterable[str]) -> dict[date, tuple[FileMetadata, ...]]:
    base = logs.rstrip("/")
    files_by_day: dict[date, dict[str, FileMetadata]] = {}
    for pattern in patterns:
        for file in matched(logs, f"*/{pattern}"):
            folder = file.path[len(base) :].lstrip("/").split("/")[0]
            day = _day_of(base, folder)
            if day:
                files_by_day.setdefault(day, {})[file.path] = file
    return {day: tuple(files[path] for path in sorted(files)) for day, files in sorted(files_by_day.items())}


def _day_of(base: str, folder: str) -> date | None:
    """Returns the day of a folder, named `2026-01-01`, `20260101` or, as Hive does, `dt=2026-01-01`.

    None where its name doesn't begin as a day does: a folder beside the days.
    """
    name = re.sub(r"^[A-Za-z_][A-Za-z0-9_]*=", "", folder)
    try:
        if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{8}", name):
            return date.fromisoformat(name)
    except ValueError:
        pass
    if re.match(r"[0-9]{4}-?[0-9]{2}-?[0-9]{2}", folder):
        raise IngestError(f"{base}/{folder}: expected a folder named by its day alone, as YYYY-MM-DD; is it a copy?")
    return None


def check_days(logs: str, daily: DailyLogs, first: date, last: date) -> None:
    """Refuses days that aren't there, all of them in one message.

    Raises:
      IngestError: a day from `first` to `last` has no file.
    """
    days = days_between(first, last)
    missing = [day for day in days if day not in daily]
    if missing:
        raise IngestError(
            f"window: the days {first} to {last} are wanted, and {logs} has no files of {shown_days(missing)}; it has "
            f"{min(daily)} to {max(daily)}. A day without rows needs a file that says so (a header alone)"
        )


def window_files(
    spec: RankingSpec,
    logs: str,
    window: Window,
    daily: DailyLogs,
    since: date | None = None,
    tables_since: date | None = None,
) -> tuple[SourceFile, ...]:
    """Lists the files to read: the log's from `since` (or the window's first day) to its last day, and the tables.

    A table that lies in the daily folders is that day's: it must be there whole on every day of the window (from
    `tables_since` on, if that is given). One that
    doesn't lies in the folder `logs` and holds for all days.

    Raises:
      IngestError: a day or a table is missing, a file is of no known format, or two files of the log are the same.
    """
    check_days(logs, daily, window.first, window.last)
    since = since or window.first
    check_days(logs, daily, since, window.last)
    return _files(
        spec, logs, daily, days_between(since, window.last), days_between(tables_since or window.first, window.last)
    )


def files_to_read(
    spec: RankingSpec, logs: str, window: str | None = None, at: int | None = None
) -> tuple[SourceFile, ...]:
    """Lists the files of the logs for those who look at them without a run, in daily folders or not.

    Args:
      window: the days to read, such as `7d:2026-11-25`; None is all files, and of daily folders all that there are.
      at: a time in ticks, after which no row of daily logs is wanted: folders and tables of later days are left out.

    Raises:
      IngestError: as `match_files`, `Window.parse` and `window_files`, or no day is left until `at`.
    """
    if window:
        days, daily = Window.parse(window), daily_logs(spec, logs)
        check_days(logs, daily, days.first, days.last)
        days_to_read = days.days
    else:
        daily = _by_day(logs, spec.log.files)
        if not daily or any(matched(logs, pattern) for pattern in spec.log.files):
            return match_files(spec, logs)
        days_to_read = tuple(daily)
    if at is None:
        return _files(spec, logs, daily, days_to_read, days_to_read)
    second = at // spec.log.timestamp.ticks_per_second
    begun = [day for day in days_to_read if day_start(day_number(day), spec.log.timestamp) <= second]
    if not begun:
        last_day = day_of_number(second // _DAY_S)
        raise IngestError(
            f"{logs}: no day up to {last_day} is among those to read, {days_to_read[0]} to {days_to_read[-1]}"
        )
    # The first rows of a folder may be of the day before.
    return _files(spec, logs, daily, [day for day in days_to_read if earliest(spec, day) <= at], begun)


def _files(
    spec: RankingSpec, logs: str, daily: DailyLogs, days: Sequence[date], table_days: Sequence[date]
) -> tuple[SourceFile, ...]:
    """Lists the log's files of `days`, and the tables: those of `table_days`, or those that hold for all days."""
    files = [file for day in days for file in _numbered(spec, "log", day, daily[day])]
    _refuse_copies(spec, files)
    for source in ("users", "items"):
        table = getattr(spec, source)
        if table is None:
            continue
        by_day = _by_day(logs, table.files)
        if any(day in by_day for day in table_days):
            missing = [str(day) for day in table_days if day not in by_day]
            if missing:
                raise IngestError(f"{source}.files: {logs} has daily tables, and none of {', '.join(missing)}")
            files += [file for day in table_days for file in _numbered(spec, source, day, by_day[day])]
        else:
            files += source_files(source, logs, table)
    return tuple(
        SourceFile(file.source, index, file.path, file.size, file.day)
        for source in ("log", "users", "items")
        for index, file in enumerate(file for file in files if file.source == source)
    )


def _numbered(spec: RankingSpec, source: str, day: date, files: Iterable[FileMetadata]) -> list[SourceFile]:
    return [SourceFile.of(source, index, file, getattr(spec, source), day) for index, file in enumerate(files)]


def _refuse_copies(spec: RankingSpec, files: list[SourceFile]) -> None:
    """Refuses a file that stands twice, which would count twice. Two files without rows may be alike."""
    by_size: dict[int, list[SourceFile]] = {}
    for file in files:
        by_size.setdefault(file.size, []).append(file)
    for alike in by_size.values():
        first: dict[str, SourceFile] = {}
        for file in alike if len(alike) > 1 else ():
            original = first.setdefault(content_digest(file.path), file)
            if original is not file and _has_rows(spec, file):
                raise IngestError(
                    f"{file.path}: holds the same as {original.path}; a day or a file that stands twice counts twice"
                )


def _has_rows(spec: RankingSpec, file: SourceFile) -> bool:
    return any(len(batch.rows) or batch.bad for batch in read_source(spec, file))


def _listed(patterns: Iterable[str]) -> str:
    return ", ".join(map(repr, patterns))


def stamp(files: Iterable[FileMetadata]) -> str:
    """Returns what a listing tells of a day's files: names, sizes and times."""
    return ";".join(
        f"{posixpath.basename(file.path)}:{file.size_in_bytes}:{file.last_updated_in_seconds}" for file in files
    )


def window_fingerprint(spec: RankingSpec, logs: str, window: str) -> str:
    """Returns a digest of all that a window's examples depend on: its files' content, earlier days' listing.

    Raises:
      IngestError: as `Window.parse` and `window_files`.
    """
    days, daily = Window.parse(window), daily_logs(spec, logs)
    files = window_files(spec, logs, days, daily)
    earlier = [f"{day}:{stamp(day_files)}" for day, day_files in daily.items() if day < days.first]
    return hashlib.sha256("\n".join([digest_of(files), *earlier]).encode()).hexdigest()
