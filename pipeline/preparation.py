"""What `fulcrum run` checks before anything runs: the spec, its overrides, the logs, the place to write to."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from components.interaction_example_gen.errors import IngestError
from components.interaction_example_gen.files import fingerprint
from components.interaction_example_gen.window import window_fingerprint
from models.routing import check_routing
from pipeline.config import IN_MEMORY, RunConfig
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
    epochs: int | None = None,
    batch_size: int | None = None,
    beam_args: Sequence[str] = (),
    cache: bool = True,
    window: str | None = None,
) -> Prepared:
    """The spec with its overrides, and the run's configuration.

    Raises:
      UsageError: the spec is wrong, the routing is unknown, no log file matches, a day of the window is missing or
        there twice, or `output` can't be written.
    """
    try:
        spec = _overridden(load_spec(spec_path), routing=routing, epochs=epochs, batch_size=batch_size)
        check_routing(spec.model.routing)
        config = RunConfig(
            logs=logs if "://" in logs else str(Path(logs).absolute()),
            output=str(output.absolute()),
            fingerprint=window_fingerprint(spec, logs, window) if window else fingerprint(spec, logs),
            beam_args=(IN_MEMORY, *beam_args),
            cache=cache,
            window=window,
        )
    except (SpecError, IngestError, ValueError) as error:
        raise UsageError(error) from None
    _check_writable(output)
    return Prepared(spec, config)


def _overridden(spec: RankingSpec, routing: str | None, **training: int | None) -> RankingSpec:
    given = {key: value for key, value in training.items() if value is not None}
    model = spec.model.model_copy(update={"routing": routing} if routing else {})
    return spec.model_copy(update={"model": model, "training": spec.training.model_copy(update=given)})


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
