"""`fulcrum compile`: the pipeline for Kubeflow Pipelines or Vertex AI."""

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from components.run_parameters import COMPILE
from pipeline.cli import options
from pipeline.cli.terminal import console, fail

app = typer.Typer()


@app.command()
@options.with_parameters(COMPILE)
def compile(
    spec: Annotated[Path, typer.Argument(help="The ranking spec: a YAML file.", show_default=False)],
    image: Annotated[str, typer.Option(help="The image that every component runs in, with a tag or a digest.")],
    root: Annotated[str, typer.Option(help="The URI below which each run keeps its artifacts.")],
    out: Annotated[Path, typer.Option(help="The file to write: .yaml, or .json for Vertex AI.")],
    runner: options.Runner = options.RunnerName.local,
    master: options.Master = None,
    worker_image: options.WorkerImage = None,
    artifacts_dir: options.ArtifactsDir = None,
    job_endpoint: options.JobEndpoint = None,
    worker_pool: options.WorkerPool = None,
    job_server_jar: options.JobServerJar = None,
    parallelism: options.Parallelism = None,
    beam_arg: options.BeamArg = None,
    resources: Annotated[
        list[str] | None,
        typer.Option(help="Such as Trainer:cpu=8,memory=32G,gpu=1 or, for all that are not named, cpu=2,memory=8G."),
    ] = None,
    vertex: Annotated[bool, typer.Option("--vertex", help="A JSON job for Vertex AI instead.")] = False,
    **parameters: Any,
) -> None:
    """Compile the pipeline for Kubeflow Pipelines v2. What a run is started with are its parameters.

        fulcrum compile schema/specs/shortvideo.yaml --image registry.example.com/fulcrum:1.0 \\
            --root gs://bucket/runs --out pipeline.yaml
    """
    expected = ".json" if vertex else ".yaml"
    if out.suffix != expected:
        raise fail(f"--out: expected a file name that ends in {expected}, got {str(out)!r}", 2)

    from pipeline.cli.compile_arguments import prepare
    from pipeline.cli.run_arguments import UsageError
    from pipeline.runners.beam import Cluster, local_path_doubts, starts_cluster

    has_workers = runner.value != "local" and not starts_cluster(runner.value, master)
    try:
        prepared = prepare(
            spec,
            image,
            root,
            runner=runner.value,
            cluster=Cluster(
                master,
                worker_image or (image if has_workers else None),
                artifacts_dir,
                job_endpoint,
                worker_pool,
                job_server_jar,
                parallelism,
            ),
            beam_args=beam_arg or (),
            resources=resources or (),
            vertex=vertex,
            **parameters,
        )
    except UsageError as error:
        raise fail(error, 2) from None
    run_folders = {f"--{name}": str(prepared.defaults.get(name, "")) for name in ("logs", "state")}
    paths = {"--root": root, **run_folders, "--artifacts-dir": artifacts_dir}
    for doubt in local_path_doubts(shlex.split(str(prepared.defaults["beam_args"])), paths):
        console.print(f"warning: {doubt}", markup=False, highlight=False, soft_wrap=True)

    from pipeline.runners.kubeflow import compile_pipeline
    from pipeline.runners.kubeflow_limits import SizeError
    from pipeline.runners.resources import ResourcesError

    try:
        text = compile_pipeline(**vars(prepared))
    except (ResourcesError, SizeError) as error:
        raise fail(error, 2) from None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text)
    except OSError as error:
        raise fail(f"--out {out}: can't be written: {error.strerror or error}", 1) from None
    names = ", ".join(sorted(prepared.defaults))
    console.print(
        f"{out}: to be run with any of its parameters; these have defaults: {names}",
        highlight=False,
        soft_wrap=True,
    )
