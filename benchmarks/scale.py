"""How cost grows with the log: the simulator and ingest at several sizes, and the components after it at one of them.

The logs are those of `fulcrum simulate`, read by the short-video spec: five statistics and three behaviours. Each step
has a process of its own, and what is measured is of it and of the worker processes below it: seconds, CPU time, peak
memory, the bytes that Beam's shuffles take, the bytes that are left on disk. The Trainer trains one epoch, and the
evaluator evaluates the test split, a tenth of the examples. At `--compare-at` impressions ingest and evaluation run in
one process, too, and ingest once more as on a cluster, where all that it shuffles passes through the runner and not, as
here, its places in files. Expected (`expected.yaml`), on two cores and 10 M impressions: the simulator below 2 GiB and
ingest below 6 GiB, and ingest's CPU time a row at most 1.3 times that at 1 M.

It takes two hours and some 30 GB of disk. With `--keep DIRECTORY` it can be done in parts: steps that the folder has
aren't repeated. A quick form:

    python -m benchmarks.scale --sizes 50000,100000 --stages-at 50000 --compare-at 50000
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import expectations, process_tree
from benchmarks.command import FULCRUM
from benchmarks.components_alone import BETWEEN, EVALUATOR, INGEST, Task
from benchmarks.ingest import IMPRESSIONS_PER_USER, SPEC
from benchmarks.run_log import RunLog

SIMULATOR, SHUFFLED_INGEST = "simulate", "ingest, chunks in memory"
# Runs no Beam.
ALONE = (SIMULATOR, "Trainer")


@dataclass(frozen=True)
class Step:
    """A component, or the simulator, on logs of so many impressions, with so many processes at work."""

    name: str
    impressions: int
    processes: int = 1


@dataclass(frozen=True)
class Cost:
    """What a step read, of rows or of examples, and what it took for it."""

    rows: int
    seconds: float
    cpu_seconds: float
    peak_gib: float
    shuffled_bytes: int
    written_bytes: int

    @property
    def cpu_us_a_row(self) -> float:
        return self.cpu_seconds / self.rows * 1e6


Costs = Mapping[Step, Cost]


def main() -> int:
    options = arguments()
    steps = plan(options.sizes, options.parallelism, options.stages_at, options.compare_at)
    with tempfile.TemporaryDirectory(prefix="scale-") as scratch:
        folder = options.keep or Path(scratch)
        log = RunLog(options.keep and options.keep / "runs.jsonl")
        costs: dict[Step, Cost] = {}
        print(f"{'':24}{'impressions':>12}{'processes':>10}{'rows':>12}{'seconds':>9}{'rows/s':>9}", end="")
        print(f"{'CPU us/row':>11}{'peak GiB':>9}{'shuffled B/row':>15}{'written B/row':>14}")
        for number, step in enumerate(steps):
            cost = log.run(step.name, step.impressions, [step.processes], runner(step, folder, options.stages_at))
            costs[step] = Cost(**cost)
            print(line(step, costs[step]), flush=True)
            later = {step.impressions for step in steps[number + 1 :]}
            if not options.keep and step.impressions not in {*later, options.stages_at}:
                shutil.rmtree(folder / str(step.impressions))
    figures = figures_of(costs, options.compare_at)
    for name, value in figures.items():
        print(f"{name:32}{value:>10.3f}")
    return expectations.conclude(
        {"benchmark": "scale", **{name: round(value, 4) for name, value in figures.items()}, "steps": described(costs)},
        list(unmet(figures, expectations.load("scale"))),
    )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sizes = "250000,1000000,4000000,10000000"
    parser.add_argument(
        "--sizes", type=lambda text: sorted(map(int, text.split(","))), default=sizes, help=f"impressions ({sizes})"
    )
    parser.add_argument("--parallelism", type=int, default=2, help="processes that work for Beam (2)")
    parser.add_argument("--stages-at", type=int, default=4_000_000, help="where ingest isn't all (4,000,000)")
    parser.add_argument("--compare-at", type=int, default=1_000_000, help="where one process runs too (1,000,000)")
    parser.add_argument("--keep", type=Path, help="a folder that keeps the logs, the examples and the figures")
    options = parser.parse_args()
    for name in ("stages_at", "compare_at"):
        if getattr(options, name) not in options.sizes:
            parser.error(f"--{name.replace('_', '-')}: expected one of the sizes, got {getattr(options, name)}")
    return options


def plan(sizes: Sequence[int], processes: int, stages_at: int, compare_at: int) -> list[Step]:
    """Returns the steps in the order in which they can run: both evaluations need the one model that is trained."""
    steps = []
    for size in sizes:
        steps += [Step(SIMULATOR, size), Step(INGEST, size, processes)]
        if size == compare_at:
            steps += [Step(SHUFFLED_INGEST, size), Step(INGEST, size)]
        if size == stages_at:
            steps += [Step(name, size, 1 if name in ALONE else processes) for name in BETWEEN]
    steps += [
        Step(EVALUATOR, stages_at, processes),
        Step(EVALUATOR, compare_at, processes),
        Step(EVALUATOR, compare_at),
    ]
    return list(dict.fromkeys(steps))


def runner(step: Step, folder: Path, stages_at: int) -> Callable[[int], dict[str, Any]]:
    """Returns the function that runs a step on its logs in a process of its own, and gives the fields of its cost."""

    def run(impressions: int) -> dict[str, Any]:
        of_size = folder / str(impressions)
        if step.name == SIMULATOR:
            return asdict(simulate(impressions, of_size / "logs"))
        in_memory = step.name == SHUFFLED_INGEST
        component, trained = INGEST if in_memory else step.name, folder / str(stages_at)
        logs, spec = str(of_size / "logs"), str(SPEC)
        task = Task(component, step.processes, spec, logs, str(of_size), str(trained), in_memory)
        taken = process_tree.run([sys.executable, "-m", "benchmarks.components_alone", json.dumps(asdict(task))])
        work = json.loads(taken.printed.splitlines()[-1])
        work["cpu_seconds"] += taken.cpu_seconds_below
        return asdict(Cost(**work, peak_gib=taken.peak_gib, written_bytes=size_of(of_size / component)))

    return run


def simulate(impressions: int, logs: Path) -> Cost:
    """Simulates logs by the command, with its start in the cost."""
    users = max(1, impressions // IMPRESSIONS_PER_USER)
    arguments = {"--out": logs, "--users": users, "--impressions": impressions, "--seed": 1}
    command = [*FULCRUM, "simulate", *(str(text) for argument in arguments.items() for text in argument)]
    started = time.perf_counter()
    taken = process_tree.run(command)
    seconds = time.perf_counter() - started
    return Cost(impressions, seconds, taken.cpu_seconds, taken.peak_gib, shuffled_bytes=0, written_bytes=size_of(logs))


def size_of(folder: Path) -> int:
    """Returns the bytes of all files in the folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def figures_of(costs: Costs, compare_at: int) -> dict[str, float]:
    """Returns what is expected something of, at the largest log, and what several processes gain, by name."""
    largest = max(step.impressions for step in costs)
    ingest = costs_at(costs, INGEST, largest)
    ingest_cost = ingest[max(ingest)]
    figures = {
        "simulate_peak_gib": costs[Step(SIMULATOR, largest)].peak_gib,
        "ingest_peak_gib": ingest_cost.peak_gib,
    }
    for name, title in ((INGEST, "ingest"), (EVALUATOR, "evaluation")):
        at = costs_at(costs, name, compare_at)
        several = at[max(at)]
        figures[f"{title}_speed_up"] = at[1].seconds / several.seconds
        figures[f"{title}_cpu_of_one_process"] = several.cpu_seconds / at[1].cpu_seconds
        if name == INGEST and largest > compare_at:
            figures["growth"] = ingest_cost.cpu_us_a_row / several.cpu_us_a_row
    return figures


def costs_at(costs: Costs, name: str, impressions: int) -> dict[int, Cost]:
    """Returns what a step took on logs of that size, by the number of its processes."""
    return {
        step.processes: cost for step, cost in costs.items() if (step.name, step.impressions) == (name, impressions)
    }


def unmet(figures: Mapping[str, float], expected: Mapping[str, float]) -> Iterator[str]:
    """Yields a sentence for each figure above what is expected."""
    for name, most in expected.items():
        if name in figures and figures[name] > most:
            yield f"{name}: {figures[name]:.2f}, expected at most {most:g}"


def described(costs: Costs) -> list[dict[str, Any]]:
    return [
        {**asdict(step), **{name: round(value, 3) for name, value in asdict(cost).items()}}
        for step, cost in costs.items()
    ]


def line(step: Step, cost: Cost) -> str:
    """Returns a row of the table."""
    return (
        f"{step.name:24}{step.impressions:>12,}{step.processes:>10}{cost.rows:>12,}{cost.seconds:>9.1f}"
        f"{cost.rows / cost.seconds:>9,.0f}{cost.cpu_us_a_row:>11.1f}{cost.peak_gib:>9.2f}"
        f"{cost.shuffled_bytes / cost.rows:>15,.0f}{cost.written_bytes / cost.rows:>14,.0f}"
    )


if __name__ == "__main__":
    sys.exit(main())
