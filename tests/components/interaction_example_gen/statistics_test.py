"""Statistics through the whole graph: any cut of the logs gives the bytes that rows in memory give."""

import csv
import gzip
import itertools
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
import yaml
from joined_rows import examples_of

from ingest.statistics.answers import shared
from schema.spec import RankingSpec
from simulation.logs import simulate

SHORTVIDEO = Path(__file__).resolve().parents[3] / "schema" / "specs" / "shortvideo.yaml"
STATISTICS = {
    "delay": "5m",
    "by": [
        "item",
        {"keys": "author", "windows": ["6h"], "age": True},
        "category",
        {"keys": "user", "granularity": "1m"},
        {"keys": ["category", "user"], "age": True, "windows": ["4h"]},
        {"keys": ["user", "author"], "half_lives": ["7d"], "of": ["like"], "expire": "12h"},
        {"keys": ["item", "tab"], "expire": "10h", "granularity": "10m", "of": ["completion"]},
    ],
    "measures": [{"name": "play", "sum": "play_ms"}],
}


def _spec(statistics: dict | None = None, log: dict | None = None, **sections) -> RankingSpec:
    declared = yaml.safe_load(SHORTVIDEO.read_text())
    behaviours = [{**behaviour, "max_length": 5} for behaviour in declared["behaviours"]]
    changed = {
        "behaviours": behaviours,
        "log": {**declared["log"], **(log or {})},
        "gates": {},
        "slices": [],
        **sections,
    }
    return RankingSpec.model_validate({**declared, **changed, "statistics": statistics or STATISTICS})


def _read_csv(files: list[Path]) -> pa.Table:
    rows: list[dict[str, str]] = []
    for file in files:
        with (gzip.open if file.suffix == ".gz" else open)(file, "rt") as stream:  # type: ignore[operator]
            rows += csv.DictReader(stream)
    return pa.Table.from_pylist(rows)


def in_memory(spec: RankingSpec, logs: Path, pattern: str = "impressions-*.csv.gz") -> dict[tuple, list]:
    """The vectors by user, item and time; of simultaneous ones a list."""
    users, items = _read_csv([logs / "users.csv"]), _read_csv([logs / "items.csv"])
    examples, bad = examples_of(spec, _read_csv(sorted(logs.glob(pattern))), users, items)
    assert bad == []
    return _by_row(examples.to_pylist(), lambda value: value)


def _by_row(rows: list[dict], single: Callable) -> dict[tuple, list]:
    result: dict[tuple, list] = {}
    for row in rows:
        key = tuple(single(row[name]) for name in ("user_id", "item_id", "timestamp"))
        vectors = {name: value for name, value in sorted(row.items()) if name.endswith("_statistics")}
        assert vectors
        result.setdefault(key, []).append(repr(vectors))
    return {key: sorted(values) for key, values in result.items()}


def vectors_of(ingested) -> dict[tuple, list]:
    return _by_row(ingested.rows, lambda value: value[0])


def example_bytes(ingested) -> list[bytes]:
    folder = Path(ingested.examples.uri)
    return [file.read_bytes() for file in sorted(folder.rglob("*.gz"))]


@pytest.fixture(scope="module")
def logs(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("logs")
    simulate(folder, users=60, impressions=2_000, seed=3)
    return folder


@pytest.mark.parametrize("request_", [None, {"gap": "30m"}], ids=["impression", "request"])
def test_the_graph_gives_what_rows_in_memory_give_over_any_shards(logs, ingest_logs, request_):
    spec = _spec(log={"request": request_} if request_ else None)
    expected = in_memory(spec, logs)
    for shards in (1, 8):
        actual = vectors_of(ingest_logs(spec, logs, shards=shards))
        assert actual == expected


def test_the_order_of_the_files_and_of_the_work_leaves_every_byte(logs, ingest_logs, tmp_path):
    spec = _spec()
    first = example_bytes(ingest_logs(spec, logs, shards=3))
    header, *rows = _lines(logs)
    # The same rows in files of another cut; of a user and time, in the same order.
    recut_logs = tmp_path / "other"
    recut_logs.mkdir()
    for name in ("users.csv", "items.csv"):
        shutil.copy(logs / name, recut_logs)
    cuts = [0, 50, 900, 901, len(rows)]
    for number, (start, stop) in enumerate(itertools.pairwise(cuts)):
        with gzip.open(recut_logs / f"impressions-{number}.csv.gz", "wt") as stream:
            stream.writelines([header, *rows[start:stop]])
    threads = ("--runner=FnApiRunner", "--direct_running_mode=multi_threading", "--direct_num_workers=3")
    assert example_bytes(ingest_logs(spec, recut_logs, shards=3, beam=threads)) == first


def _lines(logs: Path) -> list[str]:
    lines: list[str] = []
    for file in sorted(logs.glob("impressions-*.csv.gz")):
        with gzip.open(file, "rt") as stream:
            here = stream.readlines()
        lines += here[1 if lines else 0 :]
    return lines


def test_without_shared_keys_there_is_no_second_shuffle_and_the_numbers_are_the_same(logs, ingest_logs):
    spec = _spec({**STATISTICS, "by": ["user", ["user", "author"]]})
    assert shared(spec) == []
    assert vectors_of(ingest_logs(spec, logs, shards=3)) == in_memory(spec, logs)


def test_one_category_for_all_rows_and_a_heavy_user(logs, ingest_logs, tmp_path):
    spec = _spec()
    hot_logs = tmp_path / "hot"
    hot_logs.mkdir()
    shutil.copy(logs / "users.csv", hot_logs)
    items = list(csv.DictReader((logs / "items.csv").open()))
    with (hot_logs / "items.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, items[0])
        writer.writeheader()
        writer.writerows({**item, "category": "all", "author_id": "one"} for item in items)
    header, *rows = _lines(logs)
    user_column = header.strip().split(",").index("user_id")
    with gzip.open(hot_logs / "impressions-0.csv.gz", "wt") as stream:
        stream.write(header)
        for number, line in enumerate(rows):
            cells = line.split(",")
            if number % 3:
                cells[user_column] = "heavy"
            stream.write(",".join(cells))
    assert vectors_of(ingest_logs(spec, hot_logs, shards=4)) == in_memory(spec, hot_logs)


def test_skipped_impressions_feed_the_others_and_become_no_examples(logs, ingest_logs):
    everything = in_memory(_spec(), logs)
    ingested = ingest_logs(_spec(split={"skip": 0.4}), logs, shards=2)
    actual = vectors_of(ingested)
    assert sum(map(len, actual.values())) == 1_200
    assert {key: everything[key] for key in actual} == actual
    assert [ingested.summary["splits"][name]["examples"] for name in ("train", "eval", "test")] == [800, 200, 200]
