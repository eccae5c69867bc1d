"""Checks the arguments of `fulcrum run` before anything runs: the spec, its settings, the logs, the output folder."""

import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.run_parameters import check_options, settings_in
from ingest.errors import IngestError
from ingest.sources import fingerprint
from ingest.windows.window import window_fingerprint
from models.bottom import BOTTOMS
from models.distribution import MULTI_WORKER
from models.routing import check_routings
from models.training.worker import check_role
from pipeline.config import RunConfig
from pipeline.runners.beam import Cluster, beam_arguments
from schema.consistency import inconsistencies
from schema.loading import SpecError, load_spec
from schema.spec import RankingSpec

# Bytes; a stage fails with less than it wanted to write at once.
_NEARLY_FULL = 1 << 20
# `gs://bucket/run`, of which a Path keeps one slash.
_OF_A_STORE = re.compile(r"\w+:/")


class UsageError(ValueError):
    """The arguments of a command can't be used; the message says which and why."""


@dataclass(frozen=True)
class Prepared:
    """What to run, checked."""

    spec: RankingSpec
    config: RunConfig


def prepare(
    spec_path: Path,
    logs: str,
    output: Path,
    *,
    warm_start: bool = False,
    runner: str = "local",
    cluster: Cluster | None = None,
    beam_args: Sequence[str] = (),
    cache: bool = True,
    window: str | None = None,
    **settings: Any,
) -> Prepared:
    """Returns the spec with the settings in it, and the run's configuration.

    Args:
      settings: by name the parameters that change the spec; None, or False for a flag, where the spec's value holds.

    Raises:
      UsageError: the spec is wrong, the routing or bottom is unknown or doesn't go with it, no log file matches, a day
        of the window is missing or there twice, settings are to be tuned in a warm start, `output` can't be written,
        several workers are to train and TF_CONFIG is not the chief's, or Beam's runner needs what was not given.
      KeyError: there is no parameter of a name.
    """
    try:
        check_options(settings)
        spec = load_spec(spec_path).with_training(**settings_in(settings))
        check_routings(spec)
        if spec.model.bottom not in BOTTOMS:
            expected = ", ".join(BOTTOMS)
            raise ValueError(f"model.bottom: unknown bottom {spec.model.bottom!r}, expected one of {expected}")
        if warm_start and spec.tuning:
            raise ValueError(
                "--warm-start: got a spec with `tuning`, which changes the settings; "
                "expected one without, since training starts from a model of the same settings"
            )
        if spec.training.distribution == MULTI_WORKER:
            check_role(chief=True)
        if problems := list(inconsistencies(spec)):
            raise ValueError("\n".join(problems))
        config = RunConfig(
            logs=logs if "://" in logs else str(Path(logs).absolute()),
            output=str(output.absolute()),
            fingerprint=window_fingerprint(spec, logs, window) if window else fingerprint(spec, logs),
            beam_args=beam_arguments(runner, cluster, beam_args),
            cache=cache,
            window=window,
            warm_start=warm_start,
        )
    except (SpecError, IngestError, ValueError) as error:
        raise UsageError(error) from None
    _check_writable(output)
    return Prepared(spec, config)


def _check_writable(output: Path) -> None:
    if _OF_A_STORE.match(str(output)):
        raise UsageError(
            f"--output {output}: expected a folder of this machine or one that is mounted here, since a run's metadata "
            "is a database file; `fulcrum compile` makes runs whose root is a bucket"
        )
    if any(wildcard in str(output.absolute()) for wildcard in "*?["):
        # TFX and TensorFlow find the examples by patterns below it.
        raise UsageError(f"--output {output}: expected a folder without `*`, `?` and `[`, which stand for other names")
    try:
        output.mkdir(parents=True, exist_ok=True)
        probe = output / f".writable-{os.getpid()}"
        probe.write_bytes(b"\0" * 4096)
        probe.unlink()
    except OSError as error:
        raise UsageError(f"--output {output}: can't be written: {error.strerror or error}") from None


def disk_hint(output: Path) -> str:
    """Returns a line that says that the disk is full, if it is: databases and native code name something else."""
    free = shutil.disk_usage(output).free
    return f"\nno space is left on the disk of {output} ({free:,} bytes free)" if free < _NEARLY_FULL else ""
