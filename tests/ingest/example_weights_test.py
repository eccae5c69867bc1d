"""Weights in the log: read, refused, written into the spaces of the examples, and in no count."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from ingest.check import check
from ingest.check_json import as_json
from ingest.examples import ExampleBuilder
from ingest.raw import RawBatch
from ingest.rows import parse
from ingest.timeline import join
from schema.example_schema import example_schema
from schema.spec import RankingSpec

T = 1_703_456_000
LOG = {"layout": "impressions", "files": "log*", "user": "user", "item": "item", "timestamp": {"column": "at"}}
EVENTS = {"layout": "events", "event": "event", "impression": "view", "attribution_window": "1s", "unripe": "keep"}
TASK = {"name": "click", "column": "click"}


def spec(weight: str | None = "w", **log) -> RankingSpec:
    declared = {"name": "shop", "log": LOG | log, "tasks": [{"name": "click", "event": "click"} if log else TASK]}
    return RankingSpec.model_validate(declared | ({"weight": {"column": weight}} if weight else {}))


def batch(weights: list, **columns) -> RawBatch:
    count = len(weights)
    rows = {
        "user": pa.array(["u1"] * count),
        "item": pa.array([f"v{i}" for i in range(count)]),
        "at": pa.array([T + i for i in range(count)]),
        "click": pa.array([1] * count),
        "w": pa.array(weights),
    }
    return RawBatch("log.parquet", np.arange(count), rows | {name: pa.array(cells) for name, cells in columns.items()})


def examples(declared: RankingSpec, raw: RawBatch) -> dict[str, list]:
    table, bad, _ = parse(declared, "log", raw)
    assert bad == []
    lines = join(declared, table)
    built = ExampleBuilder(declared, table, lines)(np.arange(len(lines.impressions)))
    return {name: column.to_pylist() for name, column in built.items()}


def test_a_weight_stands_in_the_space_of_the_example():
    built = examples(spec(), batch([2.5, None, 1.0, 0.0]))
    assert built["space_click"] == [2.5, 1.0, 1.0, 0.0]
    assert built["label_click"] == [1.0, 1.0, 1.0, 0.0]


def test_without_weights_a_space_is_of_zeros_and_ones():
    assert examples(spec(None), batch([2.5, None, 1.0, 0.0]))["space_click"] == [1.0] * 4
    (domain,) = [f.float_domain.max for f in example_schema(spec(None)).feature if f.name == "space_click"]
    assert domain == 1
    (weighted,) = [f.float_domain for f in example_schema(spec()).feature if f.name == "space_click"]
    assert (weighted.min, weighted.HasField("max")) == (0, False)


@pytest.mark.parametrize(
    ("weight", "reason"),
    [
        ("-0.5", "w: expected a weight of at least 0, got '-0.5'"),
        ("often", "w: expected a number, got 'often'"),
        ("inf", "w: expected a finite number, got 'inf'"),
    ],
)
def test_what_is_no_weight_puts_the_row_into_quarantine(weight, reason):
    table, bad, _ = parse(spec(), "log", batch(["1", weight, "2"]))
    assert (table["weight"].to_pylist(), [row.reason for row in bad]) == ([1.0, 2.0], [reason])


def test_in_an_event_log_it_is_the_impressions():
    raw = batch(["3", "-1"], event=["view", "click"], item=["v1", "v1"])
    built = examples(spec(**EVENTS), raw)
    assert (built["label_click"], built["space_click"]) == ([1.0], [3.0])


def test_check_counts_rows_and_tells_of_missing_weights(tmp_path: Path):
    rows = [f"u{i % 5},v{i},{T + i},{int(i % 3 == 0)},{'' if i % 10 == 0 else i % 4}" for i in range(60)]
    (tmp_path / "log.csv").write_text("\n".join(["user,item,at,click,w", *rows]) + "\n")
    report = as_json(check(spec(), str(tmp_path)))
    # 15 weights are 0, of which those of 3 rows are missing.
    in_space = sum(i % 10 == 0 or i % 4 > 0 for i in range(60))
    positives = sum(i % 3 == 0 and (i % 10 == 0 or i % 4 > 0) for i in range(60))
    assert report["tasks"]["click"] == {"examples": 60, "in_space": in_space, "positives": positives}
    (said,) = [finding["message"] for finding in report["findings"] if finding["where"] == "weight (w)"]
    assert said == "missing in 6 of 60 impressions, which count as 1"
