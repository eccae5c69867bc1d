"""How well each routing does on Census-Income, against the peers and against LightGBM.

`python -m benchmarks.census`: every routing, 5 seeds, trained by the product; validation picks the epoch, test AUC is
reported. The peers and LightGBM are trained on the same rows, wherever `--peers-python` names an interpreter that has
them. A quick form:

    python -m benchmarks.census --seeds 1 --routings ple,single_task

A run takes a minute or so; with `--runs FILE` they are kept, and those that the file holds aren't repeated. `--write
DIRECTORY` writes the table, the picture and the results as JSON.
"""

import argparse
import functools
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np

from benchmarks import census_data, census_training, expectations, peers, picture
from benchmarks.arrays import Splits
from benchmarks.census_data import TASKS
from benchmarks.expectations import with_interval
from benchmarks.run_log import RunLog
from models.routing import ROUTINGS, check_routing
from schema.spec import Model, Training

# The peers' sizes: two levels of two own and two shared experts of one layer of 128, towers of 64, embeddings of 8.
SHAPE = Model(expert_units=(128,), tower_units=(64,), embedding_dim=8, oov_buckets=1)
RECIPE = Training(
    epochs=4,
    learning_rate=1e-2,
    schedule="cosine",
    averaging=0.99,
    dropout=0.0,
    id_mask=0.0,
    weight_decay=0.0,
    batch_size=1024,
    stop_by="metrics",
    patience=4,
)
BUCKETS = 64
REFERENCE = "single_task"

Record = Mapping[str, Any]


def main() -> int:
    options = arguments()
    expected = expectations.load("census")
    splits = census_data.load(options.data, BUCKETS)
    log = RunLog(options.runs)
    trainers: dict[str, Callable[[int], list[dict]]] = {
        routing: functools.partial(train, splits, routing) for routing in options.routings
    }
    compared = (*peers.PEERS, "lightgbm")
    trainers |= peers.trainers(options.peers_python, options.peers, compared, RECIPE.epochs)
    best: dict[str, list[Record]] = {name: [] for name in trainers}
    for seed in range(1, options.seeds + 1):
        for name, trainer in trainers.items():
            # What decides the outcome of one of our runs; the peers have settings of their own.
            ours = [RECIPE.model_dump(mode="json"), SHAPE.model_dump(mode="json"), BUCKETS]
            settings = ours if name in ROUTINGS else []
            epochs = log.run(name, seed, settings, trainer)
            best[name].append(best_epoch(epochs))
            print(f"{name:<20} seed {seed}  epoch {best[name][-1]['epoch']}  test {shown(best[name][-1]['test'])}")
    aucs = {name: np.array([epoch["test"] for epoch in epochs]) for name, epochs in best.items()}
    table = list(report(aucs, best, expected))
    short = [*expectations.regressions(aucs, expected, TASKS), *unmet(aucs, expected)]
    print("\n".join(table))
    if options.write:
        write(options.write, table, aucs, best)
    means = {name: [round(float(mean), 5) for mean in values.mean(axis=0)] for name, values in aucs.items()}
    return expectations.conclude({"test_auc": means, "runs": options.seeds}, short)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=peers.CENSUS, help="a directory or a zip with census-income.*")
    parser.add_argument("--seeds", type=int, default=expectations.load("census")["runs"])
    parser.add_argument("--routings", type=lambda text: text.split(","), default=list(ROUTINGS))
    parser.add_argument("--peers-python", type=Path, help="an interpreter with the peers and LightGBM installed")
    parser.add_argument("--peers", type=Path, default=peers.DIRECTORY, help="the directory of the peers' script")
    parser.add_argument("--runs", type=Path, help="a file that keeps the runs, and gives those it has")
    parser.add_argument("--write", type=Path, help="a directory for the table, the picture and the JSON")
    options = parser.parse_args()
    for routing in options.routings:
        check_routing(routing)
    return options


def train(splits: Splits, routing: str, seed: int) -> list[dict]:
    """Returns the record of the epoch that validation picks, alone: `validation` and `test` AUCs by task."""
    shape = SHAPE.model_copy(update={"routing": routing})
    return [census_training.train(splits, shape, RECIPE.model_copy(update={"seed": seed}))]


def best_epoch(epochs: list[dict]) -> dict:
    """Returns the record of the epoch that validation picks: the highest sum of the tasks' AUCs."""
    return max(epochs, key=lambda epoch: sum(epoch["validation"]))


def unmet(aucs: Mapping[str, np.ndarray], expected: Mapping[str, Any]) -> Iterator[str]:
    """Yields what PLE has to be better than, and isn't."""
    if "ple" not in aucs:
        return
    ple = aucs["ple"].mean(axis=0)
    for task, mean, least in zip(TASKS, ple, expected["ple_at_least"], strict=True):
        # The bound is given to four digits, and so is the mean that is held against it.
        if round(mean, 4) < least:
            yield f"ple, {task}: {mean:.4f}, expected at least {least}"
    for rival in (*peers.PEERS, REFERENCE):
        if rival in aucs:
            for task, mean, theirs in zip(TASKS, ple, aucs[rival].mean(axis=0), strict=True):
                if mean < theirs:
                    yield f"ple, {task}: {mean:.5f} is below {rival}'s {theirs:.5f}"


def report(
    aucs: Mapping[str, np.ndarray], best: Mapping[str, list[Record]], expected: Mapping[str, Any]
) -> Iterator[str]:
    """Yields the table's lines, in Markdown."""
    yield "| model | runs | " + " | ".join(f"{task} | gain" for task in TASKS) + " | best epoch |"
    yield "|---|---:|" + "---:|---:|" * len(TASKS) + "---:|"
    reference = aucs.get(REFERENCE)
    for name, values in aucs.items():
        cells = []
        for task in range(len(TASKS)):
            gain = "" if reference is None else with_interval(values[:, task] - reference[:, task], 5, sign=True)
            cells += [with_interval(values[:, task], 5), "" if name == REFERENCE else gain]
        epochs = ", ".join(str(epoch["epoch"]) for epoch in best[name])
        yield f"| {name} | {len(values)} | {' | '.join(cells)} | {epochs} |"
    yield "| the paper's PLE | | " + " | | ".join(f"{value:.4f}" for value in expected["paper_ple"]) + " | | |"


def write(directory: Path, table: list[str], aucs: Mapping[str, np.ndarray], best: Mapping[str, list[Record]]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "census.md").write_text("\n".join(table) + "\n")
    (directory / "census.json").write_text(json.dumps({"tasks": TASKS, "runs": best}, indent=1) + "\n")
    panels = {
        f"{task}: test AUC": {name: values[:, i] for name, values in aucs.items()} for i, task in enumerate(TASKS)
    }
    (directory / "census.svg").write_text(picture.intervals(panels))


def shown(values: list[float]) -> str:
    return " ".join(f"{value:.4f}" for value in values)


if __name__ == "__main__":
    sys.exit(main())
