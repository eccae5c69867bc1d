"""What sharing gains and costs, by how closely two tasks are related: synthetic regressions, of known relation.

`python -m benchmarks.seesaw`: for the cosines .2, .5, .75 and 1 of the two tasks' weights, hard sharing, MMoE, CGC and
PLE against single-task models of the same depth, trained by the product; the gain is the fall of the test MSE (PLE,
eq. 11), its mean and interval over 3 seeds. Each seed draws tasks and examples anew, the same for every routing. A
quick form:

    python -m benchmarks.seesaw --seeds 1 --correlations 0.2,1

With `--runs FILE` runs are kept, and those that the file holds aren't repeated. `--write DIRECTORY` writes the table,
the picture and the results as JSON.

The generator is that of Ma et al. (MMoE), KDD 2018, with the constants of Tang et al. (PLE), RecSys 2020, and smaller:
128 inputs instead of 512, 100,000 examples instead of 1.4 million.
"""

import argparse
import functools
import itertools
import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np

from benchmarks import arrays, expectations, picture
from benchmarks.arrays import Rows, Splits
from benchmarks.expectations import with_interval
from benchmarks.run_log import RunLog
from models.routing import check_routing
from schema.spec import Model, RankingSpec, Training

CORRELATIONS = (0.2, 0.5, 0.75, 1.0)
ROUTINGS = ("shared_bottom", "mmoe", "cgc", "ple")
REFERENCE = "single_task"
INPUTS = 128
SINES = 10
NOISE = 0.1  # a variance of 0.01
TRAIN, VALIDATION, TEST = 100_000, 10_000, 20_000
TASKS = ("task_1", "task_2")
SHAPE = Model(expert_units=(64,), tower_units=(32,))
RECIPE = Training(
    epochs=15,
    patience=15,
    learning_rate=3e-3,
    batch_size=1024,
    dropout=0.0,
    weight_decay=0.0,
    stop_by="loss",
)


def main() -> int:
    options = arguments()
    expected = expectations.load("seesaw")
    log = RunLog(options.runs)
    recipe = RECIPE.model_copy(update={"learning_rate": options.learning_rate})
    errors: dict[float, dict[str, np.ndarray]] = {}
    for correlation in options.correlations:
        runs: dict[str, list[list[float]]] = {name: [] for name in (REFERENCE, *options.routings)}
        for seed in range(1, options.seeds + 1):
            for routing in runs:
                settings = [correlation, recipe.model_dump(mode="json"), SHAPE.model_dump(mode="json"), INPUTS, TRAIN]
                run = functools.partial(train, correlation, routing, recipe)
                runs[routing].append(log.run(routing, seed, settings, run))
                print(f"{correlation:<5} {routing:<14} seed {seed}  MSE {shown(runs[routing][-1])}", flush=True)
        errors[correlation] = {name: np.array(values) for name, values in runs.items()}
    gains = {
        correlation: {name: values[REFERENCE] - values[name] for name in options.routings}
        for correlation, values in errors.items()
    }
    table = list(report(errors, gains))
    print("\n".join(table))
    if options.write:
        write(options.write, table, errors, gains)
    short = list(unmet(gains, expected))
    means = {str(c): {name: round(float(gain.mean()), 5) for name, gain in by.items()} for c, by in gains.items()}
    return expectations.conclude({"mean_gain": means, "runs": options.seeds}, short)


def arguments() -> argparse.Namespace:
    def numbers(text: str) -> list[float]:
        return [float(number) for number in text.split(",")]

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=expectations.load("seesaw")["runs"])
    parser.add_argument("--correlations", type=numbers, default=list(CORRELATIONS))
    parser.add_argument("--routings", type=lambda text: text.split(","), default=list(ROUTINGS))
    parser.add_argument("--learning-rate", type=float, default=RECIPE.learning_rate, help="Adam's, at the start")
    parser.add_argument("--runs", type=Path, help="a file that keeps the runs, and gives those it has")
    parser.add_argument("--write", type=Path, help="a directory for the table, the picture and the JSON")
    options = parser.parse_args()
    for routing in options.routings:
        check_routing(routing)
    return options


def generate(correlation: float, seed: int) -> Splits:
    """Draws two regressions of the same inputs, whose weights have `correlation` as their cosine.

    w1 = u1,  w2 = p u1 + sqrt(1 - p^2) u2,  u1 and u2 orthonormal
    y_t = w_t x + sum_i sin(a_i w_t x + b_i) + e,  x ~ N(0, I),  a, b ~ N(0, 1),  e ~ N(0, 0.01)
    """
    random = np.random.default_rng([seed, round(1000 * correlation)])
    u = np.linalg.qr(random.normal(size=(INPUTS, 2)))[0].T
    weights = np.stack([u[0], correlation * u[0] + np.sqrt(1 - correlation**2) * u[1]], axis=1)
    a, b = random.normal(size=(2, SINES))
    count = TRAIN + VALIDATION + TEST
    x = random.standard_normal((count, INPUTS), dtype=np.float32)
    linear = x @ weights  # (rows, tasks)
    y = linear + np.sin(linear[:, :, np.newaxis] * a + b).sum(axis=-1) + random.normal(scale=NOISE, size=linear.shape)
    # The scale of the labels says nothing about sharing; the mean is what an output bias would learn.
    y = (y - y[:TRAIN].mean(axis=0)) / y[:TRAIN].std(axis=0)
    # Transform appends whether a vector is missing.
    rows = Rows({"x": np.pad(x, ((0, 0), (0, 1)))}, y.astype(np.float32))
    cuts = np.cumsum([0, TRAIN, VALIDATION, TEST])
    train, validation, test = (rows.part(slice(first, last)) for first, last in itertools.pairwise(cuts))
    return Splits(train, validation, test, sizes={})


def train(correlation: float, routing: str, recipe: Training, seed: int) -> list[float]:
    """Returns the test MSE of each task, in units of the label's variance, after the epoch that validation picks."""
    splits = generate(correlation, seed)
    trained = arrays.train(splits, synthetic_spec(routing, recipe.model_copy(update={"seed": seed})))
    return np.square(trained.test - splits.test.labels).mean(axis=0).tolist()


def synthetic_spec(routing: str, recipe: Training) -> RankingSpec:
    """Returns the spec of the two regressions of one vector."""
    vector = {"name": "x", "source": "log", "kind": "vector", "size": INPUTS, "scale": "none"}
    tasks = [{"name": task, "column": task, "kind": "regression"} for task in TASKS]
    return arrays.spec_of("synthetic", [vector], tasks, SHAPE.model_copy(update={"routing": routing}), recipe)


def report(
    errors: Mapping[float, Mapping[str, np.ndarray]], gains: Mapping[float, Mapping[str, np.ndarray]]
) -> Iterator[str]:
    """Yields the table's lines, in Markdown, and a sentence wherever PLE doesn't win."""
    yield "| cosine | routing | MSE " + " | MSE ".join(TASKS) + " | gain " + " | gain ".join(TASKS) + " | mean gain |"
    yield "|---:|---|" + "---:|" * (2 * len(TASKS) + 1)
    for correlation, by_routing in errors.items():
        for name, values in by_routing.items():
            cells = [f"{mean:.4f}" for mean in values.mean(axis=0)]
            if name == REFERENCE:
                cells += [""] * (len(TASKS) + 1)
            else:
                gain = gains[correlation][name]
                cells += [with_interval(gain[:, task], 4, sign=True) for task in range(len(TASKS))]
                cells.append(with_interval(gain.mean(axis=1), 4, sign=True))
            yield f"| {correlation} | {name} | {' | '.join(cells)} |"
    yield ""
    yield from over_all(gains)
    yield ""
    lost = []
    for correlation, by_name in gains.items():
        best = max(by_name, key=lambda name: float(by_name[name].mean()))
        if "ple" in by_name and best != "ple":
            lost.append(f"At {correlation} PLE doesn't win: {best} gains more.")
        if "ple" in by_name and by_name["ple"].mean() <= 0:
            lost.append(f"At {correlation} PLE loses to single task.")
    yield " ".join(lost) or "PLE's mean gain is the largest at each cosine."


def over_all(gains: Mapping[float, Mapping[str, np.ndarray]]) -> Iterator[str]:
    """Yields the lines of a table of the mean gain over all cosines, every draw of the tasks a run of its own."""
    yield "| routing, all cosines | draws | mean gain | PLE's gain above it |"
    yield "|---|---:|---:|---:|"
    draws = by_draw(gains)
    for name, gain in draws.items():
        above = with_interval(draws["ple"] - gain, 4, sign=True) if name != "ple" and "ple" in draws else ""
        yield f"| {name} | {len(gain)} | {with_interval(gain, 4, sign=True)} | {above} |"


def by_draw(gains: Mapping[float, Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Returns by routing its mean gain in each draw of the tasks, one cosine's draws after those of the one before."""
    return {
        name: np.concatenate([by_name[name].mean(axis=1) for by_name in gains.values()])
        for name in next(iter(gains.values()))
    }


def unmet(gains: Mapping[float, Mapping[str, np.ndarray]], expected: Mapping[str, Any]) -> Iterator[str]:
    """Yields where PLE gains nothing, gains less than others on average, or falls behind what is expected of it."""
    for correlation, by_name in gains.items():
        if "ple" not in by_name:
            continue
        gain = float(by_name["ple"].mean())
        if gain <= 0:
            yield f"ple at {correlation}: a gain of {gain:+.4f}, expected a positive one"
        entry = expected["ple_gain"].get(correlation)
        if entry and gain < entry["value"] - entry["tolerance"]:
            yield f"ple at {correlation}: a gain of {gain:+.4f}, expected {entry['value']:+.4f} ± {entry['tolerance']}"
    average = {name: float(draws.mean()) for name, draws in by_draw(gains).items()}
    for rival in ("mmoe", "shared_bottom"):
        if "ple" in average and rival in average and average["ple"] <= average[rival]:
            yield f"ple gains {average['ple']:+.4f} on average, {rival} {average[rival]:+.4f}"


def write(
    directory: Path,
    table: list[str],
    errors: Mapping[float, Mapping[str, np.ndarray]],
    gains: Mapping[float, Mapping[str, np.ndarray]],
) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "seesaw.md").write_text("\n".join(table) + "\n")
    results = {str(c): {name: values.tolist() for name, values in by.items()} for c, by in errors.items()}
    (directory / "seesaw.json").write_text(json.dumps({"tasks": TASKS, "mse": results}, indent=1) + "\n")
    panels = {
        f"cosine {c:g}: mean gain in MSE": {name: gain.mean(axis=1) for name, gain in by.items()}
        for c, by in gains.items()
    }
    (directory / "seesaw.svg").write_text(picture.intervals(panels, zero=True))


def shown(values: list[float]) -> str:
    return " ".join(f"{value:.4f}" for value in values)


if __name__ == "__main__":
    sys.exit(main())
