"""The command `fulcrum`. Exit codes: 0 done, 1 the run failed, 2 what was asked for can't be done as given."""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import Progress

from components.run_parameters import RUN
from pipeline.cli import ab_test, compile, consistency, init, online, options, report, serving
from pipeline.cli.options import LogsDir, LogWindow, SpecPath
from pipeline.cli.terminal import console, errors, fail
from pipeline.runners.garbage import collect_rarely
from pipeline.runners.quiet import quiet

app = typer.Typer(
    help="From raw interaction logs to a multi-task ranker that does not seesaw.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def main() -> None:
    """Runs the command, with TensorFlow's own chatter off unless the user's environment turns it on."""
    collect_rarely()
    quiet()
    app()


@app.command()
def simulate(
    out: Annotated[Path, typer.Option(help="The folder to write to.")],
    users: Annotated[int, typer.Option(min=1, help="How many people.")] = 5_000,
    impressions: Annotated[int, typer.Option(min=1, help="How many rows.")] = 200_000,
    days: Annotated[int, typer.Option(min=1, help="From 2026-01-01 on, a file each.")] = 14,
    daily: Annotated[bool, typer.Option("--daily", help="A folder a day, as `run --window` reads them.")] = False,
    task_interests: Annotated[
        float,
        typer.Option(min=0, max=1, help="How far each task follows interests of its own: 0 not at all, 1 these alone."),
    ] = 0.0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 1,
) -> None:
    """Write short-video logs with known ground truth and tasks in real tension.

    Read them with schema/specs/shortvideo.yaml:

        fulcrum simulate --out logs --users 5000 --impressions 200000 --seed 1
        fulcrum run schema/specs/shortvideo.yaml --logs logs --output runs/shortvideo
    """
    from simulation.logs import simulate as write_logs

    try:
        with Progress(console=errors, transient=True) as progress:
            bar = progress.add_task("impressions", total=impressions)
            logs = write_logs(
                out,
                users=users,
                impressions=impressions,
                days=days,
                daily=daily,
                task_interests=task_interests,
                seed=seed,
                progress=lambda done, total: progress.update(bar, completed=done, total=total),
            )
    except ValueError as error:
        raise fail(error, 2) from None
    except OSError as error:
        raise fail(f"--out {out}: can't be written: {error.strerror or error}", 1) from None
    rates = ", ".join(f"{task} {rate:.1%}" for task, rate in logs.rates.items())
    console.print(
        f"{logs.impressions:,} impressions of {logs.users:,} people and {logs.items:,} videos in {out} ({rates})",
        highlight=False,
    )


@app.command()
def check(
    spec: SpecPath,
    logs: LogsDir,
    window: LogWindow = None,
    rows: Annotated[
        int,
        typer.Option(
            min=1, help="How many rows of the log to read at most; statistics read whole days of ten times as many."
        ),
    ] = 100_000,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print counts and findings as one JSON object, and nothing else.")
    ] = False,
) -> None:
    """Look at a sample of the logs: what the examples would be, and what is wrong. Runs nothing."""
    import json

    from ingest.check import check as look
    from ingest.check_json import as_json as report_as_json
    from models.routing import check_routings
    from pipeline.cli.check_output import render
    from schema.loading import load_spec

    try:
        declared = load_spec(spec)
        check_routings(declared)
    except ValueError as error:
        raise fail(error, 2) from None
    report = look(declared, logs, sample_rows=rows, window=window)
    if as_json:
        typer.echo(json.dumps(report_as_json(report), allow_nan=False))
    else:
        render(report, console)
    if not report.ok:
        raise typer.Exit(1)


@app.command()
@options.with_parameters(RUN)
def run(
    spec: SpecPath,
    output: Annotated[Path, typer.Option(help="The folder of the run: metadata, artifacts, pushed models.")],
    warm_start: Annotated[
        bool, typer.Option("--warm-start", help="Start training from the latest blessed model of this folder.")
    ] = False,
    runner: options.Runner = options.RunnerName.local,
    master: options.Master = None,
    worker_image: options.WorkerImage = None,
    artifacts_dir: options.ArtifactsDir = None,
    job_endpoint: options.JobEndpoint = None,
    worker_pool: options.WorkerPool = None,
    job_server_jar: options.JobServerJar = None,
    parallelism: options.Parallelism = None,
    beam_arg: options.BeamArg = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Run every stage, whatever ran before.")] = False,
    **parameters: Any,
) -> None:
    """Run the whole pipeline: logs in, a pushed ranker out.

    What has not changed since the last run in the same folder is taken from the cache.
    """
    from pipeline.cli import run_arguments
    from pipeline.runners.beam import Cluster, local_path_doubts, version_doubts
    from schema.blessing import blessing_doubts

    try:
        prepared = run_arguments.prepare(
            spec,
            output=output,
            warm_start=warm_start,
            runner=runner.value,
            cluster=Cluster(
                master, worker_image, artifacts_dir, job_endpoint, worker_pool, job_server_jar, parallelism
            ).with_absolute_paths(),
            beam_args=beam_arg or (),
            cache=not no_cache,
            **parameters,
        )
    except run_arguments.UsageError as error:
        raise fail(error, 2) from None

    from pipeline.pipeline import create_pipeline
    from pipeline.runners import local as local_runner
    from pipeline.runners.run_lock import RunningError, only_run
    from report.moved import adopt
    from report.summary import load_summary
    from report.terminal_summary import render

    paths = {"--logs": prepared.config.logs, "--output": prepared.config.output, "--artifacts-dir": artifacts_dir}
    beam_args = prepared.config.beam_args
    doubts = [*blessing_doubts(prepared.spec), *local_path_doubts(beam_args, paths), *version_doubts(beam_args)]
    for doubt in doubts:
        console.print(f"warning: {doubt}", markup=False, highlight=False, soft_wrap=True)
    log_file = output / "logs" / f"{datetime.now():%Y%m%d-%H%M%S}.log"
    try:
        with only_run(output):
            adopt(output)
            local_runner.run(create_pipeline(prepared.spec, prepared.config), console, log_file)
    except RunningError as error:
        raise fail(error, 2) from None
    except (local_runner.StageError, OSError) as error:
        hint = run_arguments.disk_hint(output)
        raise fail(f"{error}{hint}\n(the whole log: {log_file})", 1) from None
    render(load_summary(output), console)
    console.print(f"{'log:':<18}{log_file}", highlight=False, soft_wrap=True)


@app.command()
def worker() -> None:
    """Take part in a training on several machines, as the environment's TF_CONFIG says.

    For each worker but the first, whom the pipeline's Trainer starts and who says what to train. Ends when it is saved.
    """
    from models.distribution import DistributionError
    from models.training.worker import run_worker

    try:
        run_worker()
    except DistributionError as error:
        raise fail(error, 2) from None


@app.command()
def show(
    output: Annotated[str, typer.Argument(help="The folder of a past run, or a store's address.", show_default=False)],
) -> None:
    """Print the summary of the latest run in a folder, from its metadata; or what an online store holds."""
    if online.is_store(output):
        return online.show_store(output)
    from report.summary import NoRunError, load_summary
    from report.terminal_summary import render

    try:
        summary = load_summary(Path(output))
    except NoRunError as error:
        raise fail(error, 2) from None
    except OSError as error:
        raise fail(f"{output}: a part of the run is gone: {error}; was the folder moved without it?", 2) from None
    return render(summary, console)


app.add_typer(init.app)
app.add_typer(report.app)
app.add_typer(compile.app)
app.add_typer(serving.app)
app.add_typer(online.app)
app.add_typer(consistency.app)
app.add_typer(ab_test.app)


if __name__ == "__main__":
    main()
