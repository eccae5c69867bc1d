"""Checks the arguments of `fulcrum compile`: all that can be known to be wrong before a run is started."""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.run_parameters import check_options, check_reference_start, compiled_parameters, settings_in
from components.uris import UriError, check, scheme_of
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
    """The arguments of `pipeline.runners.kubeflow.compile_pipeline`, checked."""

    spec: RankingSpec
    image: str
    root: str
    defaults: Mapping[str, str | int | float]
    resources: Mapping[str, Resources]
    vertex: bool


def prepare(
    spec_path: Path,
    image: str,
    root: str,
    *,
    runner: str = "local",
    cluster: Cluster | None = None,
    beam_args: Sequence[str] = (),
    resources: Sequence[str] = (),
    vertex: bool = False,
    **parameters: Any,
) -> Compilation:
    """Returns what to compile, once all of it can be used.

    Args:
      parameters: by name the defaults of the run's parameters; None where the declared one holds, see
        `Parameter.default_for`.

    Raises:
      UsageError: the spec is wrong, the image has neither tag nor digest, a parameter can't be used for what it is for,
        a path is relative, the routing is unknown, or Beam's runner needs what was not given.
      KeyError: there is no parameter of a name.
    """
    try:
        spec = load_spec(spec_path).with_training(**settings_in(parameters))
        check_routings(spec)
        check_image(image)
        check("--root", root, {"gs"} if vertex else _ROOTS)
        if vertex and not scheme_of(root):
            raise UriError(f"--root: Vertex AI keeps artifacts at gs://, got {root!r}")
        check_options(parameters)
        check_reference_start(spec, parameters, "--start-reference-from")
        check_paths(cluster or Cluster())
        arguments = beam_arguments(runner, cluster, beam_args)
        if is_distributed(arguments) and scheme_of(root) in _ROOTS - {"gs"}:
            raise UriError(f"--root: Beam's workers on other machines need a root of gs://, got {root!r}")
        parsed = parse_resources(resources)
    except (SpecError, ValueError) as error:
        raise UsageError(error) from None
    defaults = {declared.name: declared.default_for(spec, root) for declared in compiled_parameters()}
    defaults |= {name: value for name, value in parameters.items() if value is not None}
    defaults["beam_args"] = shlex.join(arguments)
    present = {name: value for name, value in defaults.items() if value is not None}
    return Compilation(spec, image, root, present, parsed, vertex)


def check_paths(cluster: Cluster) -> None:
    """Raises ValueError if a path would depend on the working folder of a component's container."""
    for option, path in (("--artifacts-dir", cluster.artifacts_dir), ("--job-server-jar", cluster.job_server_jar)):
        if path and "://" not in path and not path.startswith("/"):
            raise ValueError(f"{option}: expected an absolute path, as the image has it, or a URI; got {path!r}")


def check_image(image: str) -> None:
    """Raises ValueError unless the image says which of its versions is meant."""
    match = _IMAGE.fullmatch(image)
    if not match:
        raise ValueError(f"--image: expected REGISTRY/NAME:TAG or REGISTRY/NAME@sha256:…, got {image!r}")
    if not (match["tag"] or match["digest"]):
        raise ValueError(f"--image: expected a tag or a digest, so that every run has the same image; got {image!r}")
