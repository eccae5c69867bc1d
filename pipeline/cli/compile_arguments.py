"""What `fulcrum compile` checks before it compiles: all that can be known to be wrong before a run is started."""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from components.preflight.uris import UriError, check, check_readable_by_beam, check_usable_by_tensorflow, scheme_of
from ingest.windows.window import Window
from models.routing import check_routings
from pipeline.cli.run_arguments import UsageError
from pipeline.runners.beam import Cluster, beam_arguments, is_distributed
from pipeline.runners.resources import Resources, parse_resources
from schema.loading import SpecError, load_spec
from schema.spec import RankingSpec

# host[:port]/path[:tag][@digest]
_IMAGE = re.compile(
    r"[\w][\w.-]*(:\d+(?=/))?(/[\w][\w.-]*)*(?P<tag>:[\w][\w.-]{0,127})?(?P<digest>@sha256:[0-9a-f]{64})?"
)
# The stores that Kubeflow's launcher copies artifacts from and to.
_ROOTS = {"gs", "s3", "minio"}


@dataclass(frozen=True)
class Compilation:
    """The arguments of `kubeflow_runner.compile_pipeline`, found right."""

    spec: RankingSpec
    image: str
    root: str
    defaults: Mapping[str, str | int]
    resources: Mapping[str, Resources]
    vertex: bool


def prepare(
    spec_path: Path,
    image: str,
    root: str,
    *,
    logs: str | None = None,
    window: str = "",
    state: str | None = None,
    push_destination: str | None = None,
    compare_with: str = "",
    start_from: str = "",
    routing: str | None = None,
    epochs: int | None = None,
    runner: str = "local",
    cluster: Cluster | None = None,
    beam_args: Sequence[str] = (),
    resources: Sequence[str] = (),
    vertex: bool = False,
) -> Compilation:
    """What to compile. What is not given has the spec's value as its default, or none, and must be given to each run.

    Raises:
      UsageError: the spec is wrong, the image has neither tag nor digest, an address can't be used for what it is for,
        the routing is unknown, or Beam's runner needs what was not given.
    """
    try:
        spec = load_spec(spec_path).with_training(routing, epochs)
        check_routings(spec)
        check_image(image)
        check("--root", root, {"gs"} if vertex else _ROOTS)
        if vertex and not scheme_of(root):
            raise UriError(f"--root: Vertex AI keeps artifacts at gs://, got {root!r}")
        if logs is not None:
            check_readable_by_beam("--logs", logs)
        if window:
            Window.parse(window)
        if state is not None:
            check_readable_by_beam("--state", state)
        named = {"push-destination": push_destination, "compare-with": compare_with, "start-from": start_from}
        for option, uri in named.items():
            if uri:
                check_usable_by_tensorflow(f"--{option}", uri)
        arguments = beam_arguments(runner, cluster, beam_args)
        if is_distributed(arguments) and scheme_of(root) in _ROOTS - {"gs"}:
            raise UriError(f"--root: Beam's workers on other machines need a root of gs://, got {root!r}")
        parsed = parse_resources(resources)
    except (SpecError, ValueError) as error:
        raise UsageError(error) from None
    defaults: dict[str, str | int | None] = {
        "logs": logs,
        "window": window,
        "state": state or f"{root.rstrip('/')}/state",
        "epochs": spec.training.epochs,
        "routing": spec.model.routing,
        "compare_with": compare_with,
        "start_from": start_from,
        "push_destination": push_destination,
        "beam_args": shlex.join(arguments),
    }
    given = {name: value for name, value in defaults.items() if value is not None}
    return Compilation(spec, image, root, given, parsed, vertex)


def check_image(image: str) -> None:
    """Raises ValueError unless the image says which of its versions is meant."""
    found = _IMAGE.fullmatch(image)
    if not found:
        raise ValueError(f"--image: expected REGISTRY/NAME:TAG or REGISTRY/NAME@sha256:…, got {image!r}")
    if not (found["tag"] or found["digest"]):
        raise ValueError(f"--image: expected a tag or a digest, so that every run has the same image; got {image!r}")
