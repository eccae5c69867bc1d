"""Runs of a benchmark that outlive it: a long one can be done in parts."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from models.training.progress import fingerprint


class RunLog:
    """One JSON line a run, in a file; a run that the file has, with the same settings, isn't repeated.

    Args:
      file: where the runs are kept; None to keep none.
    """

    def __init__(self, file: Path | None):
        self.file = file
        lines = file.read_text().splitlines() if file and file.exists() else []
        records = [json.loads(line) for line in lines]
        self.known = {(record["name"], record["seed"], record["settings"]): record["result"] for record in records}

    def run(self, name: str, seed: int, settings: Any, run: Callable[[int], Any]) -> Any:
        """Returns what `run(seed)` gives, or gave when it was kept."""
        key = (name, seed, fingerprint(settings))
        if key not in self.known:
            self.known[key] = run(seed)
            if self.file:
                self.file.parent.mkdir(parents=True, exist_ok=True)
                with self.file.open("a") as file:
                    record = {"name": name, "seed": seed, "settings": key[2], "result": self.known[key]}
                    file.write(json.dumps(record) + "\n")
        return self.known[key]
