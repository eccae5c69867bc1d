"""How well the routings and the bottoms rank on logs: simulated short videos, and Deskdrop.

`python -m benchmarks.logs`: PLE and its baselines on the plain bottom, PLE on DTRN's, and PLE with its losses balanced,
3 seeds each, of the same examples. A ranker is trained as the pipeline trains it, and evaluated on the test split, each
task in its sample space: AUC, or the MSE of a regression. Differences from PLE on the plain bottom are by seed, with
their 95 % interval over seeds; which users are in the test split is not in it. A quick form:

    python -m benchmarks.logs --logs simulated --seeds 1 --models ple,ple+dtrn

With `--runs FILE` runs are kept, and those that the file holds aren't repeated. `--write DIRECTORY` writes the tables,
the pictures and the results as JSON.
"""

import argparse
import functools
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf
from sklearn.metrics import mean_squared_error, roc_auc_score

from benchmarks import expectations, picture
from benchmarks.data_sets import DATA, DATA_SETS, simulated
from benchmarks.expectations import interval, with_interval
from benchmarks.prepared import Prepared, prepare, test_scores
from benchmarks.run_log import RunLog
from models.bottom import BOTTOMS
from models.routing import check_routing
from schema.columns import label_name, space_name
from schema.spec import RankingSpec

USERS, IMPRESSIONS = 2_500, 100_000
REFERENCE = "ple"
BALANCINGS = ("uncertainty", "pcgrad")
MODELS = (
    *("single_task", "shared_bottom", "mmoe", "cgc", REFERENCE),
    *(f"{REFERENCE}+{option}" for option in ("dtrn", *BALANCINGS)),
)


def main() -> int:
    options = arguments()
    log = RunLog(options.runs)
    measured: dict[str, dict[str, np.ndarray]] = {}
    tasks: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name in options.logs:
            prepared = examples_of(name, options.data_folder, options.keep or Path(scratch))
            tasks[name] = [f"{task.name} {'MSE' if task.is_regression else 'AUC'}" for task in prepared.spec.tasks]
            runs: dict[str, list[list[float]]] = {model: [] for model in options.models}
            for seed in range(1, options.seeds + 1):
                for model in runs:
                    settings = configured(prepared.spec, model, seed).to_json()
                    run = functools.partial(train, prepared, model)
                    runs[model].append(log.run(f"{name}/{model}", seed, settings, run))
                    print(f"{name:<10} {model:<14} seed {seed}  {shown(runs[model][-1])}", flush=True)
            measured[name] = {model: np.array(values) for model, values in runs.items()}
    tables = {name: list(report(values, tasks[name])) for name, values in measured.items()}
    for name, table in tables.items():
        print("\n".join([f"\n{name}\n", *table]))
    if options.write:
        write(options.write, tables, tasks, measured)
    means = {
        name: {model: values.mean(axis=0).round(5).tolist() for model, values in by.items()}
        for name, by in measured.items()
    }
    short = [
        f"{name}: {sentence}"
        for name, by in measured.items()
        for sentence in expectations.regressions(higher_is_better(by, tasks[name]), expected(name), tasks[name])
    ]
    return expectations.conclude({"test": means, "runs": options.seeds}, short)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--logs", type=lambda text: text.split(","), default=["simulated", "deskdrop"])
    parser.add_argument(
        "--models", type=lambda text: text.split(","), default=list(MODELS), help="ROUTING[+BOTTOM][+BALANCING]"
    )
    parser.add_argument("--seeds", type=int, default=expectations.load("logs")["runs"])
    parser.add_argument("--data-folder", type=Path, default=DATA, help="has the folder deskdrop")
    parser.add_argument("--keep", type=Path, help="a directory for the examples, which are taken if they are there")
    parser.add_argument("--runs", type=Path, help="a file that keeps the runs, and gives those it has")
    parser.add_argument("--write", type=Path, help="a directory for the tables, the pictures and the JSON")
    options = parser.parse_args()
    if unknown := set(options.logs) - {"simulated", "deskdrop"}:
        parser.error(f"--logs: expected simulated, deskdrop or both, got {', '.join(sorted(unknown))}")
    for model in options.models:
        routing, *more = model.split("+")
        check_routing(routing)
        if unknown := set(more) - {*BOTTOMS, *BALANCINGS}:
            expected_ones = ", ".join([*BOTTOMS, *BALANCINGS])
            parser.error(f"--models: expected some of {expected_ones} after {routing}+, got {', '.join(unknown)}")
    return options


def examples_of(name: str, data: Path, folder: Path) -> Prepared:
    logs = simulated(data, folder, USERS, IMPRESSIONS) if name == "simulated" else DATA_SETS[name](data, folder)
    return prepare(logs.spec, logs.folder, folder / logs.name)


def configured(spec: RankingSpec, model: str, seed: int) -> RankingSpec:
    routing, *more = model.split("+")
    bottom = next((name for name in BOTTOMS if name in more), "plain")
    balancing = next((name for name in BALANCINGS if name in more), "none")
    return spec.with_training(routing=routing, bottom=bottom, seed=seed, loss_balancing=balancing)


def train(prepared: Prepared, model_name: str, seed: int) -> list[float]:
    """Trains the model; returns each task's AUC or MSE on the test split, by the weights of the best epoch."""
    spec = configured(prepared.spec, model_name, seed)
    return test_metrics(spec, prepared.test, test_scores(prepared, spec))


def test_metrics(spec: RankingSpec, serialized: np.ndarray, scores: np.ndarray) -> list[float]:
    names = [name for task in spec.tasks for name in (label_name(task), space_name(task))]
    columns = {name: tf.io.FixedLenFeature([], tf.float32) for name in names}
    targets = tf.io.parse_example(tf.constant(serialized), columns)
    metrics = []
    for task, outputs in zip(spec.tasks, scores, strict=True):
        inside = targets[space_name(task)].numpy() > 0
        labels = targets[label_name(task)].numpy()[inside]
        measure = mean_squared_error if task.is_regression else roc_auc_score
        metrics.append(float(measure(labels, outputs[inside])))
    return metrics


def report(metrics: Mapping[str, np.ndarray], tasks: Sequence[str]) -> Iterator[str]:
    """Yields two tables' lines, in Markdown: what was measured, and by how much it is better than PLE."""
    yield "| model | " + " | ".join(tasks) + " |"
    yield "|---|" + "---:|" * len(tasks)
    for model, values in metrics.items():
        yield f"| {model} | " + " | ".join(with_interval(values[:, i], 4) for i in range(len(tasks))) + " |"
    if REFERENCE not in metrics:
        return
    yield ""
    yield f"| better than {REFERENCE} by | " + " | ".join(tasks) + " | mean |"
    yield "|---|" + "---:|" * (len(tasks) + 1)
    better = higher_is_better(metrics, tasks)
    for model, values in better.items():
        if model != REFERENCE:
            difference = values - better[REFERENCE]
            cells = [marked(difference[:, i]) for i in range(len(tasks))] + [marked(difference.mean(axis=1))]
            yield f"| {model} | {' | '.join(cells)} |"


def marked(difference: np.ndarray) -> str:
    """Returns the mean and its interval as text, bold where the interval leaves out zero."""
    text = with_interval(difference, 4, sign=True)
    return f"**{text}**" if abs(difference.mean()) > interval(difference) else text


def higher_is_better(metrics: Mapping[str, np.ndarray], tasks: Sequence[str]) -> dict[str, np.ndarray]:
    signs = np.array([-1.0 if task.endswith("MSE") else 1.0 for task in tasks])
    return {model: values * signs for model, values in metrics.items()}


def expected(name: str) -> dict[str, Any]:
    expected = expectations.load("logs")
    return {"runs": expected["runs"], "values": expected[name]}


def write(
    directory: Path,
    tables: Mapping[str, list[str]],
    tasks: Mapping[str, list[str]],
    metrics: Mapping[str, Mapping[str, np.ndarray]],
) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        (directory / f"logs_{name}.md").write_text("\n".join(table) + "\n")
        results = {"metrics": tasks[name], "runs": {model: values.tolist() for model, values in metrics[name].items()}}
        (directory / f"logs_{name}.json").write_text(json.dumps(results, indent=1) + "\n")
        panels = {
            metric: {model: values[:, i] for model, values in metrics[name].items()}
            for i, metric in enumerate(tasks[name])
        }
        (directory / f"logs_{name}.svg").write_text(picture.intervals(panels))


def shown(values: Sequence[float]) -> str:
    return " ".join(f"{value:.4f}" for value in values)


if __name__ == "__main__":
    sys.exit(main())
