"""What `fulcrum run` checks before anything runs: the spec, its overrides, the logs, the place to write to."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from components.interaction_example_gen.errors import IngestError
from components.interaction_example_gen.files import fingerprint
from models.bottom import BOTTOMS
from models.routing import check_routing
from pipeline.config import IN_MEMORY, RunConfig
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
    beam_args: Sequence[str] = (),
    cache: bool = True,
) -> Prepared:
    """The spec with its overrides, and the run's configuration.

    Raises:
      UsageError: the spec is wrong, the routing or bottom is unknown, no log file matches, or `output` can't be
        written.
    """
    try:
        spec = _overridden(load_spec(spec_path), routing=routing, bottom=bottom, epochs=epochs, batch_size=batch_size)
        check_routing(spec.model.routing)
        config = RunConfig(
            logs=logs if "://" in logs else str(Path(logs).absolute()),
            output=str(output.absolute()),
            fingerprint=fingerprint(spec, logs),
            beam_args=(IN_MEMORY, *beam_args),
            cache=cache,
        )
    except (SpecError, IngestError, ValueError) as error:
        raise UsageError(error) from None
    _check_writable(output)
    return Prepared(spec, config)


def _overridden(spec: RankingSpec, routing: str | None, bottom: str | None, **training: int | None) -> RankingSpec:
    given = {key: value for key, value in training.items() if value is not None}
    chosen = {key: value for key, value in (("routing", routing), ("bottom", bottom)) if value is not None}
    if bottom is not None and bottom not in BOTTOMS:
        raise ValueError(f"model.bottom: unknown bottom {bottom!r}, expected one of {', '.join(BOTTOMS)}")
    changed = spec.model_copy(
        update={"model": spec.model.model_copy(update=chosen), "training": spec.training.model_copy(update=given)}
    )
    if problems := list(inconsistencies(changed)):
        raise ValueError("\n".join(problems))
    return changed


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
