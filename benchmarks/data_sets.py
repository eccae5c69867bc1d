"""The logs that rankers are compared on, by name."""

import contextlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import schema
from benchmarks import census_data
from benchmarks.command import fulcrum
from simulation.logs import PARAMETERS

SPECS = Path(schema.__file__).parent / "specs"
CENSUS_SPEC = Path(__file__).with_name("census.yaml")
DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
USERS, IMPRESSIONS = 5_000, 200_000
ACTIVE_USERS = 700


@dataclass(frozen=True)
class Logs:
    """Logs to compare on: a spec, and the folder that its globs are relative to."""

    name: str
    spec: Path
    folder: Path


def simulated(data: Path, folder: Path, users: int = USERS, impressions: int = IMPRESSIONS) -> Logs:
    """Simulates short videos in a folder of `folder`, and returns them; what is there whole is taken."""
    name = f"simulated_{users}_{impressions}"
    logs = folder / f"{name}_logs"
    if not (logs / PARAMETERS).exists():
        fulcrum("simulate", "--out", logs, "--users", users, "--impressions", impressions, "--seed", 1)
    return Logs(name, SPECS / "shortvideo.yaml", logs)


def kuairand(data: Path, folder: Path) -> Logs:
    return Logs("kuairand", SPECS / "kuairand.yaml", data / "kuairand")


def active_users_of_kuairand(data: Path, folder: Path) -> Logs:
    """Writes the impressions of KuaiRand's most active users to the folder `kuairand700_logs`, and returns them."""
    logs = folder / "kuairand700_logs"
    if not logs.exists():
        files = sorted((data / "kuairand").glob("log_*.parquet"))
        tables = {file.name: pq.read_table(file) for file in files}
        counts = pa.concat_tables(table.select(["user_id"]) for table in tables.values()).group_by("user_id")
        by_activity = counts.aggregate([("user_id", "count")]).sort_by(
            [("user_id_count", "descending"), ("user_id", "ascending")]
        )
        active = by_activity["user_id"].slice(0, ACTIVE_USERS)
        with _whole(logs) as partial:
            for name, table in tables.items():
                pq.write_table(table.filter(pc.is_in(table["user_id"], active)), partial / name)
            for file in (data / "kuairand").glob("*.csv*"):
                shutil.copy(file, partial)
    return Logs("kuairand700", SPECS / "kuairand.yaml", logs)


def deskdrop(data: Path, folder: Path) -> Logs:
    return Logs("deskdrop", SPECS / "deskdrop.yaml", data / "deskdrop")


def census_income(data: Path, folder: Path) -> Logs:
    """Writes Census-Income's persons to the folder `census_income_logs`, and returns them; what is there is taken."""
    logs = folder / "census_income_logs"
    if not logs.exists():
        with _whole(logs) as partial:
            census_data.write_log(data / "census_income", partial / "people.parquet")
    return Logs("census_income", CENSUS_SPEC, logs)


@contextlib.contextmanager
def _whole(folder: Path) -> Iterator[Path]:
    """Yields a folder to write into, which becomes `folder` at the end: what was killed before isn't taken for it."""
    partial = folder.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    yield partial
    partial.rename(folder)


# By name, `logs(data, folder)`: `data` has the folders of real logs; what has to be made is kept in `folder`.
DATA_SETS: dict[str, Callable[[Path, Path], Logs]] = {
    "simulated": simulated,
    "kuairand": kuairand,
    "kuairand700": active_users_of_kuairand,
    "deskdrop": deskdrop,
    "census_income": census_income,
}
