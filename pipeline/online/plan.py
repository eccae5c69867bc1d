"""Which days and files go into a generation, in daily folders or not."""

import hashlib
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa

from ingest.clock import with_precision
from ingest.errors import IngestError
from ingest.sources import SourceFile, digest_of, match_files, matched
from ingest.statistics.answers import definitions
from ingest.times import local_seconds
from ingest.windows.rolling import DAY, Carried, Rolling, plan
from ingest.windows.snapshots import Snapshot
from ingest.windows.window import Window, daily_logs, day_number, day_of_number, earliest, files_to_read
from pipeline.online.generations import digest_of as definition_digest
from schema.spec import RankingSpec

_DAY_S = 86_400


@dataclass(frozen=True)
class Plan:
    """What is to be read for a generation.

    Attributes:
      spec: with the precision of the log's times.
      rolling: as of a window whose last day is the generation's.
      is_daily: whether the logs lie in daily folders; else a row's day is that of its time.
      until: rows of later days aren't read; None reads all rows of logs without daily folders.
      name: of the generation; that of what it is made of.
    """

    spec: RankingSpec
    files: tuple[SourceFile, ...]
    rolling: Rolling
    is_daily: bool
    until: date | None
    name: str


def make_plan(spec: RankingSpec, logs: str, state: str, until: date | None) -> Plan:
    """Plans a generation that is complete up to the end of the day `until`, by default of the last one.

    Args:
      state: the folder of what earlier days have carried on, of logs in daily folders.

    Raises:
      IngestError: a file is missing, or can't be read.
    """
    if any(matched(logs, pattern) for pattern in spec.log.files):
        return _of_all_files(spec, logs, until)
    daily = daily_logs(spec, logs)
    last = until or max(daily)
    if last not in daily:
        raise IngestError(f"--until {last}: {logs} has no folder of that day; it has {min(daily)} to {max(daily)}")
    window = Window(last, last)
    spec = with_precision(spec, files_to_read(spec, logs, str(window)))
    rolling, files = plan(spec, logs, state, window)
    tables = digest_of(file for file in files if file.source in ("users", "items"))
    lineage = [rolling.snapshot.folder.rsplit("/", 1)[-1], *(carried.snapshot.folder for carried in rolling.statistics)]
    made_of = [definition_digest(spec), str(last), tables, *(folder.rsplit("/", 1)[-1] for folder in lineage)]
    return Plan(spec, files, rolling, True, last, _name(made_of))


def _of_all_files(spec: RankingSpec, logs: str, until: date | None) -> Plan:
    files = match_files(spec, logs)
    spec = with_precision(spec, files)
    # Everything is before the snapshot of the day after; `_rolling` says which day that is, once the rows are known.
    name = _name([definition_digest(spec), str(until), digest_of(files)])
    return Plan(spec, files, rolling_of(spec, until or date(1970, 1, 1)), False, until, name)


def rolling_of(spec: RankingSpec, last: date) -> Rolling:
    """Returns a window of one day which nothing was carried on to, and whose snapshot isn't kept."""
    snapshot = Snapshot(day_of_number(day_number(last) + 1), "", {})
    statistics = tuple(Carried(None, snapshot) for _ in definitions(spec))
    return Rolling(Window(last, last), None, snapshot, statistics)


def _name(made_of: list[str]) -> str:
    return hashlib.sha256("\n".join(made_of).encode()).hexdigest()[:8]


def days_of(spec: RankingSpec, time: np.ndarray) -> np.ndarray:
    """Returns int32 the days (since 1970-01-01, in the log's time zone) that times in ticks lie in."""
    return (local_seconds(time, spec.log.timestamp) // _DAY_S).astype(np.int32)


def with_days(plan: Plan, rows: pa.Table) -> pa.Table:
    """Returns rows of logs without daily folders with the day of each, without those after `until`."""
    days = days_of(plan.spec, rows["time"].to_numpy())
    rows = rows.append_column(DAY, pa.array(days))
    return rows if plan.until is None else rows.filter(pa.array(days <= day_number(plan.until)))


def settled(plan: Plan, last_day: int) -> tuple[Plan, int]:
    """Returns the plan once the rows' last day is known, and the ticks before which no request can be answered.

    The newest day of logs without daily folders may still be growing, unless `until` says that it is over: then
    requests of that day are to be answered, too.
    """
    if plan.is_daily:
        return plan, earliest(plan.spec, plan.rolling.snapshot.day)
    last = plan.until or day_of_number(last_day)
    horizon = last if plan.until is None else day_of_number(day_number(last) + 1)
    rolling = rolling_of(plan.spec, last)
    before = replace(rolling.snapshot, day=horizon)
    statistics = tuple(Carried(None, before) for _ in rolling.statistics)
    rolling = replace(rolling, snapshot=before, statistics=statistics)
    return replace(plan, rolling=rolling, until=last), earliest(plan.spec, horizon)


def scratch_folder(output: str, plan: Plan) -> Path:
    """Returns where a generation's rows lie while they are sorted."""
    return Path(output) / "online" / plan.name
