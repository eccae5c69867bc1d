"""Trains the product's ranker on Census-Income."""

from sklearn.metrics import roc_auc_score

from benchmarks import arrays
from benchmarks.arrays import Splits
from benchmarks.census_data import NUMERIC, TASKS
from schema.spec import Model, RankingSpec, Training


def census_spec(splits: Splits, shape: Model, training: Training) -> RankingSpec:
    """Returns the spec of Census-Income's two tasks: a feature for each column of ids, and for each number."""
    ids = [{"name": name, "source": "log", "kind": "categorical"} for name in splits.sizes]
    numbers = [{"name": f"{name}_scaled", "source": "log", "kind": "numeric"} for name in NUMERIC]
    tasks = [{"name": task, "column": task} for task in TASKS]
    return arrays.spec_of("census", [*ids, *numbers], tasks, shape, training)


def train(splits: Splits, shape: Model, training: Training) -> dict:
    """Returns the record of the epoch that validation picks: `epoch`, AUCs by task of `validation` and `test`.

    `examples_per_second` is that of the fastest epoch.
    """
    trained = arrays.train(splits, census_spec(splits, shape, training))
    labels = splits.test.labels
    return {
        "epoch": trained.best_epoch,
        "validation": [trained.best["eval"][task]["auc"] for task in TASKS],
        "test": [float(roc_auc_score(labels[:, i], trained.test[:, i])) for i in range(len(TASKS))],
        "examples_per_second": round(max(epoch["examples_per_second"] for epoch in trained.epochs)),
    }
