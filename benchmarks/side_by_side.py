"""A benchmark that compares rankers on several logs: what each prints of them, and how it ends."""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from benchmarks import expectations
from benchmarks.comparison import Compared, Row, ScoreFiles, Scores, calibration_table, compare
from benchmarks.data_sets import Logs
from benchmarks.prepared import Prepared, prepare


def compare_on(
    logs_in: Callable[[Path], Iterable[Logs]],
    keep: Path | None,
    seeds: int,
    score: Callable[[Prepared, int, ScoreFiles], Scores],
    table: Callable[[str, list[Row]], Iterator[str]],
    shortfalls: Callable[[str, Compared], Iterator[str]],
) -> int:
    """Scores rankers by seed on each of the logs, prints how they compare, and returns the benchmark's exit status.

    Args:
      logs_in: the logs, of which those that have to be made are made in a folder.
      keep: the folder for logs, runs and scores, which are taken if they are there; None for one that goes.
      score: what one seed's rankers give on the test examples.
      table: a log's lines by its name and rows.
      shortfalls: what falls short on a log of this name.
    """
    short: list[str] = []
    results: dict[str, dict[str, object]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = keep or Path(scratch)
        for logs in logs_in(folder):
            prepared = prepare(logs.spec, logs.folder, folder / logs.name)
            files = ScoreFiles(folder / logs.name / "scores")
            compared = compare(prepared, [score(prepared, seed, files) for seed in range(1, seeds + 1)])
            lines = [*table(logs.name, compared.rows), *calibration_table(compared.calibrations)]
            print("\n".join(lines), flush=True)
            results[logs.name] = compared.as_json()
            short += shortfalls(logs.name, compared)
    return expectations.conclude({"test": results, "seeds": seeds}, short)
