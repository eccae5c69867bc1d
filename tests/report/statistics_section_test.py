"""What the report says of statistics, by figures worked out by hand; and how it reads them from examples."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from material_of_a_run import make_material

from report.elements import Figure, Group, Section, Table
from report.lineage import Execution, Lineage, Used
from report.material import EXAMPLES, SPEC, Artifact, artifacts_of, read_material
from report.report import report
from report.sections import statistics
from report.statistic_rows import StatisticExamples, StatisticRows, read_statistic_examples
from schema.spec import RankingSpec

PAIR = {"keys": ["item", "tab"], "half_lives": [], "of": ["like"], "age": True}
SPEC_OF_VIDEOS = RankingSpec.model_validate(
    {
        "name": "videos",
        "log": {
            "layout": "impressions",
            "files": "log.csv",
            "user": "user",
            "item": "item",
            "timestamp": {"column": "at", "unit": "s"},
            "request": {"gap": "30m"},
        },
        "features": [{"name": "tab", "source": "log", "kind": "categorical"}],
        "tasks": [
            {"name": "like", "column": "like"},
            {"name": "finish", "ratio": {"numerator": "played", "denominator": "length"}},
        ],
        "statistics": {
            "by": [{"keys": "item", "delay": "5m"}, {"keys": "tab", "half_lives": [], "of": ["like"]}, PAIR]
        },
    }
)
NAN = float("nan")


def split(item: list[list[float]], tab: list[list[float]], like: list[float]) -> StatisticRows:
    """Slots: of item impressions, like, finish by half-life and since ever; of tab impressions, like since ever.

    The likes of both together are n minutes old at the n-th example, from 0, the first of which has none.
    """
    pair = [[1, 1, 0, 60 * minutes or -1] for minutes in range(len(like))]
    values = {"item": item, "tab": tab, "item_tab": pair}
    vectors = {f"{name}_statistics": np.array(of_name, np.float32) for name, of_name in values.items()}
    labels = {"like": np.array(like, np.float32), "finish": np.array(like, np.float32) / 2}
    return StatisticRows(vectors, labels, {name: np.ones(len(like), np.float32) for name in labels})


def signals(leak: int = 1) -> StatisticExamples:
    """Three examples in train, four (times `leak`) in test, the third of which has no item's key."""
    item = [[0.5, 0.5, 0.1, 4, 3, 2], [0, 0, 0, 0, 0, 0], [NAN] * 6, [5, 1, 0.5, 20, 2, 1]]
    return StatisticExamples(
        SPEC_OF_VIDEOS,
        {
            "train": split(item[:3], [[2, 1], [1, 0], [3, 2]], [1, 0, 1]),
            "test": split(item * leak, [[4, 4], [9, 0], [3, 0], [12, 12]] * leak, [1, 0, 0, 1] * leak),
        },
    )


def section(statistic_examples: StatisticExamples) -> Section:
    return statistics.section(make_material(signals=statistic_examples))


def tables(statistic_examples: StatisticExamples) -> list[Table]:
    blocks = section(statistic_examples).blocks
    inside = [inner for block in blocks if isinstance(block, Group) for inner in block.blocks]
    return [block for block in (*blocks, *inside) if isinstance(block, Table)]


def rows_of(table: Table) -> dict[tuple[str, ...], dict[str, str]]:
    names = [name for name in table.columns if name not in ("Statistic", "Slot", "Task")]
    keys = [name for name in table.columns if name not in names]
    cells = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    return {tuple(row[key].text for key in keys): {name: row[name].text for name in names} for row in cells}


def test_keys_are_told_by_split():
    item = rows_of(tables(signals())[0])["item",]
    assert (item["Key known, train"], item["Key known, test"]) == ("66.7%", "75.0%")
    assert (item["Seen before, train"], item["Seen before, test"]) == ("50.0%", "66.7%")
    assert (item["Impressions, train"], item["Impressions, test"]) == ("2", "4")


def test_a_rate_alone_is_judged_by_auc_and_a_regression_by_rank_correlation():
    alone = rows_of(tables(signals())[1])
    # The likes of tabs are all or none, as the labels are.
    assert alone["tab", "like"] == {"Span": "lifetime", "Measure": "AUC", "test": "1.0000"}
    # With m = 20, p = 2/3: since ever (3 + 13.3) / 24, 13.3 / 20 twice (unseen, missing), (2 + 13.3) / 40: one of the
    # two positives above both others, one below. By half-life they are .6748, .6667 twice and .5733: the same order.
    assert alone["item", "like"]["test"] == "0.5000"
    assert alone["item", "finish"]["Measure"] == "rank correlation"


def test_every_slot_has_its_distribution():
    slots = rows_of(tables(signals())[2])
    assert slots["item.impressions.1d", "item"] == {"train": "0.25", "test": "0.50"}
    assert slots["tab.like.lifetime", "tab"] == {"train": "1", "test": "2"}
    assert slots["item_tab.like.age", "item_tab"] == {"train": "90", "test": "120"}


def test_impressions_are_drawn_by_decades_of_each_split():
    (figure,) = (block for block in section(signals()).blocks if isinstance(block, Figure))
    (rows,) = figure.charts["item"]["datasets"].values()
    of_test = {row["x"]: round(row["share"], 2) for row in rows if row["series"] == "test"}
    assert of_test == {"0": 0.33, "1–9": 0.33, "10–99": 0.33}


def said(statistic_examples: StatisticExamples) -> str:
    return " ".join(block for block in section(statistic_examples).blocks if isinstance(block, str))


def test_counts_that_grow_from_train_to_test_are_told():
    # Medians of tab: 2 and 6.5; of item 2 and 4, which is no more than twice.
    assert "tab (2 and 6.50)" in said(signals())
    assert "item (" not in said(signals())
    level = signals()
    level.splits["test"].vectors["tab_statistics"][:, 0] = 3
    assert "differs by more than" not in said(level)


def test_a_rate_that_knows_the_labels_is_told_where_examples_are_enough():
    assert "the past can’t know as much" not in said(signals())
    assert "tab alone has an AUC of 1.0000 for like on test" in said(signals(leak=10))


def test_a_split_without_examples_is_no_error():
    statistic_examples = signals()
    none = split([[NAN] * 6], [[NAN] * 2], [1])
    assert report(
        make_material(signals=StatisticExamples(statistic_examples.spec, {**statistic_examples.splits, "eval": none}))
    )


def serialized(tab: list[float], like: float) -> bytes:
    example = tf.train.Example()
    columns = {"item_statistics": [NAN] * 6, "tab_statistics": tab, "item_tab_statistics": [NAN] * 4}
    targets = {"label_like": [like], "space_like": [1.0], "label_finish": [0.5], "space_finish": [1.0]}
    for name, values in (columns | targets).items():
        example.features.feature[name].float_list.value.extend(values)
    example.features.feature["request_start"].int64_list.value.append(1)
    return example.SerializeToString()


@pytest.fixture
def examples(tmp_path: Path) -> str:
    for name, count in (("train", 3), ("test", 2)):
        for file in range(2):
            folder = tmp_path / f"Split-{name}"
            folder.mkdir(exist_ok=True)
            with tf.io.TFRecordWriter(str(folder / f"data-{file}.gz"), "GZIP") as writer:
                for row in range(count):
                    writer.write(serialized([10.0 * file + row, 0.0], float(row)))
    return str(tmp_path)


def test_some_of_each_file_are_read(examples):
    statistic_examples = read_statistic_examples(examples, SPEC_OF_VIDEOS, most=4)
    assert {name: len(rows) for name, rows in statistic_examples.splits.items()} == {"train": 4, "test": 4}
    assert sorted(statistic_examples.splits["train"].vectors["tab_statistics"][:, 0]) == [0, 1, 10, 11]
    assert sorted(statistic_examples.splits["train"].labels["like"]) == [0, 0, 1, 1]
    assert statistic_examples.splits["train"].vectors["item_statistics"].shape == (4, 6)


def test_a_run_tells_where_its_examples_are_and_by_which_spec(examples):
    def stage(name: str, outputs: tuple[Used, ...], **properties: object) -> Execution:
        return Execution(name, "complete", 0.0, 1.0, (), outputs, properties)

    used = Used("examples", 1, "Examples", examples, "InteractionExampleGen", {})
    ingest = stage("InteractionExampleGen", (used,), spec=SPEC_OF_VIDEOS.to_json())
    without_statistics = SPEC_OF_VIDEOS.model_copy(update={"statistics": None})
    evaluator = stage("SeesawEvaluator", (), spec=without_statistics.to_json())
    of_run = artifacts_of(Lineage("videos", "first", (ingest,)))
    assert of_run[EXAMPLES] == Artifact(examples, {SPEC: SPEC_OF_VIDEOS.to_json()})
    material = read_material("videos", "first", of_run)
    assert material.signals is not None
    assert len(material.signals.splits["test"]) == 4
    both = artifacts_of(Lineage("videos", "first", (ingest, evaluator)))
    assert read_material("videos", "first", both).signals is None


def test_examples_that_can_not_be_read_do_not_cost_the_rest(tmp_path):
    (tmp_path / "Split-train").mkdir()
    (tmp_path / "Split-train" / "data.gz").write_bytes(b"no gzip")
    artifacts = {EXAMPLES: Artifact(str(tmp_path), {SPEC: SPEC_OF_VIDEOS.to_json()})}
    material = read_material("videos", "first", artifacts)
    assert material.signals is None
    assert "examples" in material.unreadable[0]
