"""The peers: other people's implementations, trained in an environment of their own."""

import functools
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

PEERS = ("deepctr-torch", "torch-rechub")
SCRIPT = Path(__file__).with_name("peer_training.py")
ROOT = Path(__file__).resolve().parents[1]
DIRECTORY = ROOT.parent / "shared" / "peers"
CENSUS = ROOT.parent / "shared" / "data" / "census_income"


def missing(python: Path | None, directory: Path | None = None) -> str | None:
    """Returns why the peers can't be trained, by the script in the directory if one is given; None if they can."""
    if python is None:
        return "no --peers-python: an interpreter with torch, deepctr-torch, torch-rechub and lightgbm"
    if not python.exists():
        return f"--peers-python: {python} is not there"
    if directory and not (directory / "train_peers.py").exists():
        return f"--peers: {directory} has no train_peers.py"
    return None


def trainers(
    python: Path | None, directory: Path, names: Sequence[str], epochs: int
) -> dict[str, Callable[[int], list[dict]]]:
    """Returns how each is trained, given a seed; where they can't be, nothing, and prints a line that says why."""
    reason = missing(python, directory)
    if python is None or reason:
        print(f"PEERS SKIPPED: {reason}", file=sys.stderr)
        return {}
    return {name: functools.partial(train, python, directory, name, epochs) for name in names}


def train(python: Path, directory: Path, model: str, epochs: int, seed: int) -> list[dict]:
    """Trains a peer; returns a record an epoch: `validation` and `test` AUCs by task, and `examples_per_second`.

    Raises:
      RuntimeError: the peer's script failed; the message has the end of what it said.
    """
    return run_script(python, SCRIPT, directory.resolve(), model, seed, epochs)


def run_script(python: Path, script: Path, *arguments: object) -> list[dict]:
    """Runs one of our scripts in the peers' environment, and returns its lines of JSON, which begin with the model.

    Raises:
      RuntimeError: the script failed; the message has the end of what it said.
    """
    command = [str(python), "-B", str(script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        what = " ".join([script.name, *map(str, arguments)])
        raise RuntimeError(f"{what}: exit code {done.returncode}\n{done.stderr[-2000:]}")
    # The peers print lines of their own among ours.
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"model"')]
