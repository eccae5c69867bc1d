"""What `fulcrum run` checks before anything runs: the spec, its overrides, the logs, the place to write to."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

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


class UsageError(ValueError):
    """What was asked for can't be done as given."""


@dataclass(frozen=True)
class Prepared:
    spec: RankingSpec
    config: RunConfig


def prepare(
    spec_path: Path,
    logs: str,
    output: Path,
    *,
    routing: str | None = None,
    bottom: str | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    reference: bool = False,
    warm_start: bool = False,
    runner: str = "local",
    cluster: Cluster | None = None,
    beam_args: Sequence[str] = (),
    cache: bool = True,
    window: str | None = None,
) -> Prepared:
    """The spec with its overrides, and the run's configuration.

    Raises:
      UsageError: the spec is wrong, the routing or bottom is unknown or doesn't go with it, no log file matches, a day
        of the window is missing or there twice, settings are to be tuned in a warm start, `output` can't be written,
        several workers are to train and TF_CONFIG is not the chief's, or Beam's runner needs what was not given.
    """
    try:
        spec = load_spec(spec_path).with_training(routing, epochs, batch_size, reference or None, bottom)
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
    try:
        output.mkdir(parents=True, exist_ok=True)
        probe = output / f".writable-{os.getpid()}"
        probe.write_bytes(b"\0" * 4096)
        probe.unlink()
    except OSError as error:
        raise UsageError(f"--output {output}: can't be written: {error.strerror or error}") from None


def disk_hint(output: Path) -> str:
    """Says so where the disk is full: databases and native code report that as something else."""
    free = shutil.disk_usage(output).free
    return f"\nno space is left on the disk of {output} ({free:,} bytes free)" if free < _NEARLY_FULL else ""
