"""Vectors through ingest on Beam: what TensorFlow reads, and what is left out with its file, row and reason."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from schema.spec import RankingSpec

T = 1_700_000_000
SPEC = RankingSpec.model_validate(
    {
        "name": "videos",
        "log": {
            "layout": "impressions",
            "files": "log.jsonl",
            "user": "user",
            "item": "item",
            "timestamp": {"column": "at", "unit": "s"},
        },
        "items": {"files": "items.parquet", "key": "item"},
        "features": [
            {"name": "screen", "source": "log", "kind": "vector", "size": 2},
            {"name": "embedding", "source": "items", "kind": "vector", "size": 8},
        ],
        "behaviours": [{"name": "clicked", "column": "click", "max_length": 3}],
        "tasks": [{"name": "click", "column": "click"}],
    }
)


def test_vectors_reach_the_examples_and_rows_of_another_size_the_quarantine(tmp_path, ingest_logs):
    vectors = np.random.default_rng(0).normal(size=(20, 8)).astype(np.float32)
    cells = [vectors[n].tolist() if n % 5 else None for n in range(20)]
    cells[19] = cells[19][:7]
    logs = tmp_path / "logs"
    logs.mkdir()
    items = [f"v{n}" for n in range(20)]
    pq.write_table(
        pa.table({"item": items, "embedding": pa.array(cells, pa.list_(pa.float32()))}), logs / "items.parquet"
    )
    rows = [
        {"user": f"u{n % 3}", "item": f"v{n % 20}", "at": T + n, "click": n % 2, "screen": [n, n / 2]}
        for n in range(60)
    ]
    rows[30]["screen"] = [1, 2, 3]
    rows[31]["screen"] = None
    (logs / "log.jsonl").write_text("\n".join(map(json.dumps, rows)))

    ingested = ingest_logs(SPEC, logs, shards=2)

    assert sorted((row["file"].rsplit("/", 1)[1], row["row"], row["reason"]) for row in ingested.rejected) == [
        ("items.parquet", 20, "feature 'embedding': a vector of 7 numbers, expected 8"),
        ("log.jsonl", 31, "feature 'screen': a vector of 3 numbers, expected 2"),
    ]
    examples = sorted(ingested.rows, key=lambda row: row["timestamp"])
    assert len(examples) == 59
    nothing = [np.nan] * 8
    of_item = {
        name: nothing if cell is None or name == "v19" else cell for name, cell in zip(items, cells, strict=True)
    }
    for example in examples:
        n = example["timestamp"][0] - T
        np.testing.assert_equal(example["screen"], [np.nan] * 2 if n == 31 else [n, n / 2])
        np.testing.assert_equal(example["embedding"], of_item[example["item_id"][0]])
        positions = [number for item in example["clicked_item_id"] for number in of_item[item]]
        np.testing.assert_equal(example["clicked_embedding"], positions)
    assert max(len(example["clicked_embedding"]) for example in examples) == 24
