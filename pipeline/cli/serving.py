"""The commands about a pushed model: `fulcrum serve`, `fulcrum rank` and `fulcrum load-test`."""

import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from rich.table import Table
from rich.text import Text

from pipeline.cli.options import LogsDir, LogWindow, SpecPath
from pipeline.cli.terminal import console, fail

if TYPE_CHECKING:
    from pipeline.online.gateway import StoreCompleting
    from schema.spec import RankingSpec
    from serving.gateway.request_log import RequestLog
    from serving.local_server.directory import VersionPolicy
    from serving.local_server.server import ServerOptions

app = typer.Typer()
T = TypeVar("T", int, float)

Server = Annotated[str, typer.Option("--server", help="grpc://HOST:PORT or http://HOST:PORT.")]
Name = Annotated[str | None, typer.Option("--name", help="The model's name on the server; by default the spec's.")]
Version = Annotated[int | None, typer.Option("--version", help="Ask this version; by default the newest.")]
Label = Annotated[str | None, typer.Option("--label", help="Ask the version of this label, such as stable or canary.")]
Timeout = Annotated[float, typer.Option("--timeout", min=0.001, help="Seconds to wait for an answer.")]
_LOCAL = "grpc://127.0.0.1:8500"


@app.command()
def serve(
    model_dir: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL",
            help="The model's folder, one folder a version in it; with --upstream its spec will do.",
            show_default=False,
        ),
    ],
    name: Annotated[str, typer.Option(help="Of the model in requests; by default the folder's, or the spec's.")] = "",
    host: Annotated[str, typer.Option(help="The address to listen on; the loopback unless you say otherwise.")] = (
        "127.0.0.1"
    ),
    grpc_port: Annotated[int, typer.Option(min=0, max=65_535, help="0 takes a free one.")] = 8500,
    rest_port: Annotated[int, typer.Option(min=0, max=65_535, help="0 takes a free one.")] = 8501,
    version: Annotated[
        list[int] | None, typer.Option(min=0, help="Serve this version (repeat for more); by default the newest.")
    ] = None,
    label: Annotated[list[str] | None, typer.Option(help="A label for a version, such as stable=3 (repeat).")] = None,
    threads: Annotated[int, typer.Option(min=1, help="Requests answered at once, per protocol.")] = 8,
    intra_op_threads: Annotated[
        int, typer.Option(min=0, help="TensorFlow's threads within an operation; 0: one a core.")
    ] = 1,
    inter_op_threads: Annotated[
        int, typer.Option(min=0, help="TensorFlow's threads across operations; 0: one a core.")
    ] = 0,
    poll_seconds: Annotated[float, typer.Option(min=0.05, help="How often to look for new versions.")] = 1.0,
    store: Annotated[
        str | None, typer.Option(help="An online store, from which requests of user_id and item_id are completed.")
    ] = None,
    store_timeout: Annotated[
        float, typer.Option(min=0.001, help="Seconds that a request may wait for the store.")
    ] = 0.2,
    degrade: Annotated[
        bool, typer.Option("--degrade", help="Answer without the store where it is down, and not with UNAVAILABLE.")
    ] = False,
    upstream: Annotated[
        str | None,
        typer.Option(
            help="grpc://HOST:PORT of a TensorFlow Serving that has the model: with --store, stand before it."
        ),
    ] = None,
    upstream_timeout: Annotated[float, typer.Option(min=0.001, help="Seconds that --upstream may take.")] = 1.0,
    log_requests: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Log the requests of this share of the users, for `fulcrum consistency`."),
    ] = None,
    requests_file: Annotated[
        Path, typer.Option(help="Where they are logged, as JSON lines; when it is full it becomes <name>.1.")
    ] = Path("requests.jsonl"),
    requests_mb: Annotated[float, typer.Option(min=0.001, help="How large each of the two files may become.")] = 100.0,
) -> None:
    """Serve a pushed model as TensorFlow Serving does, to try it out. Logs JSON lines to stderr; Ctrl-C stops it.

    With --store a request of a user's id and item ids is enough; with --upstream such requests are completed, and
    forwarded with all others.
    """
    if upstream is not None and (store is None or version or label):
        raise fail("--upstream: expected --store beside it, and neither --version nor --label: it has the versions", 2)
    labels = {key: _number(f"--label {key}", value, int) for key, value in _pairs("--label", label).items()}

    from serving.local_server.directory import VersionPolicy
    from serving.local_server.logs import log_to
    from serving.local_server.server import ServerOptions
    from serving.local_server.server import serve as serve_until_stopped

    policy = VersionPolicy(specific=VersionPolicy.Specific(versions=version)) if version else VersionPolicy()
    request_log = _request_log(store, log_requests, requests_file, requests_mb)
    log_to(sys.stderr)
    completing = None
    if store is not None:
        spec = _served_spec(model_dir, policy, may_be_file=upstream is not None)
        completing = _completing(spec, store, store_timeout, degrade)
        if upstream is not None:
            name = name or (spec.name if model_dir.is_file() else model_dir.resolve().name)
    options = ServerOptions(
        name=name,
        host=host,
        grpc_port=grpc_port,
        rest_port=rest_port,
        policy=policy,
        labels=labels,
        poll_seconds=poll_seconds,
        threads=threads,
        intra_op_threads=intra_op_threads,
        inter_op_threads=inter_op_threads,
        completing=completing,
        degrade=degrade,
        request_log=request_log,
    )
    try:
        if upstream is None:
            serve_until_stopped(model_dir, options)
        else:
            _serve_before(upstream, upstream_timeout, options)
    except FileNotFoundError as error:
        raise fail(error, 2) from None
    except OSError as error:
        raise fail(f"can't listen on {host}: {error.strerror or error}", 1) from None


def _request_log(store: str | None, share: float | None, path: Path, megabytes: float) -> "RequestLog | None":
    """Returns where requests are logged; None where none are."""
    from serving.gateway.request_log import RequestLog

    if not share:
        return None
    if store is None:
        raise fail("--log-requests: logs what a store brings, expected --store", 2)
    try:
        return RequestLog(path, share, round(megabytes * 1e6))
    except OSError as error:
        raise fail(f"--requests-file {path}: can't be written: {error.strerror or error}", 2) from None


def _served_spec(path: Path, policy: "VersionPolicy", may_be_file: bool) -> "RankingSpec":
    """Returns the spec of the newest of a model's versions that are to be served, or that in a file."""
    from pipeline.online.gateway import spec_of
    from schema.loading import SpecError, load_spec
    from serving.local_server.directory import aspired, versions_in

    if may_be_file and path.is_file():
        try:
            return load_spec(path)
        except SpecError as error:
            raise fail(error, 2) from None
    versions = versions_in(path)
    if not versions:
        raise fail(f"{path}: expected a model's directory, with one folder a version in it", 2)
    served = aspired(policy, versions)
    if not served:
        asked = ", ".join(map(str, policy.specific.versions))
        raise fail(f"--version: {path} has {', '.join(map(str, sorted(versions)))}, got {asked}", 2)
    try:
        return spec_of(versions[max(served)])
    except ValueError as error:
        raise fail(error, 2) from None


def _completing(spec: "RankingSpec", url: str, timeout: float, degrade: bool) -> "StoreCompleting":
    """Returns what completes requests; with `degrade` the store may be down, and is found once it is back."""
    from pipeline.online.gateway import StoreCompleting
    from serving.local_server.logs import log
    from serving.store.opening import open_store
    from serving.store.protocol import StoreError, StoreUnavailableError
    from serving.store.waiting import LateStore

    try:
        completing = StoreCompleting(spec, open_store(url, timeout), timeout)
        completing.generation_age()
    except StoreUnavailableError as error:
        if not degrade:
            raise fail(error, 2) from None
        log("store unavailable", logging.WARNING, reason=str(error))
        completing = StoreCompleting(spec, LateStore(lambda: open_store(url, timeout)), timeout)
    except StoreError as error:
        raise fail(error, 2) from None
    return completing


def _serve_before(address: str, timeout: float, options: "ServerOptions") -> None:
    from serving.gateway.server import serve_before
    from serving.gateway.upstream import Upstream

    try:
        upstream = Upstream(address, timeout)
    except ValueError as error:
        raise fail(f"--upstream: {error}", 2) from None
    serve_before(upstream, options)


@app.command()
def rank(
    spec: SpecPath,
    user: Annotated[str, typer.Option(help="Whose candidates they are; unknown ids are allowed.")],
    candidates: Annotated[Path, typer.Option(help="A file of item ids: text (one a line), .csv or .jsonl.")],
    logs: Annotated[str | None, typer.Option(help="The folder of the logs that the request is built from.")] = None,
    store: Annotated[str | None, typer.Option(help="An online store that it is built from, in place of logs.")] = None,
    at: Annotated[
        str | None, typer.Option(help="When: ISO 8601 (UTC), or a number of the log's clock; after the last event.")
    ] = None,
    window: LogWindow = None,
    server: Server = _LOCAL,
    name: Name = None,
    version: Version = None,
    label: Label = None,
    exponent: Annotated[
        list[str] | None, typer.Option(help="task=w, its power in the score; by default the spec's (repeat).")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="feature=value in place of the last row's, if from the log (repeat)."),
    ] = None,
    top: Annotated[int | None, typer.Option(min=1, help="Print so many at most.")] = None,
    timeout: Timeout = 10.0,
) -> None:
    """Rank a user's candidates by a served model: the user's side comes from logs or a store, as in training."""
    from ingest.errors import IngestError
    from ingest.rank_request import RequestError, RequestLogs, ticks
    from pipeline.cli.candidates import read_candidates
    from schema.loading import SpecError, load_spec
    from serving import client
    from serving.requests import ExponentError, exponents, rank_request
    from serving.store.protocol import StoreError

    if (logs is None) == (store is None):
        raise fail("expected either --logs or --store", 2)
    powers = {key: _number(f"--exponent {key}", value, float) for key, value in _pairs("--exponent", exponent).items()}
    context = {key: value or None for key, value in _pairs("--set", set_).items()}
    try:
        declared = load_spec(spec)
        weights = exponents(declared, powers) if powers else None
        moment = None if at is None else ticks(declared, at)
        items = read_candidates(declared, candidates)
        if store is not None:
            columns = _from_store(declared, store, timeout, user, items, moment, context)
        else:
            read = RequestLogs.read(declared, str(logs), [user], items, window=window, at=moment)
            columns = read.user_columns(user, moment, context), read.candidate_columns(items, user, moment, context)
        request = rank_request(declared, *columns, weights)
    except (SpecError, RequestError, ExponentError, IngestError) as error:
        raise fail(error, 2) from None
    except StoreError as error:
        raise fail(error, 1) from None
    try:
        target = client.Target(name or declared.name, version, label)
        with client.connect(server, target, timeout) as connection:
            ranking = client.rank(connection, request)
    except client.ClientError as error:
        raise fail(error, 1) from None
    # Over gRPC outputs come in no order; of a model made from another spec, its own tasks come last.
    tasks = [task.name for task in declared.tasks if task.name in ranking.tasks]
    names = [*tasks, *sorted(ranking.tasks.keys() - set(tasks))]
    table = Table(title=Text(f"{len(items):,} candidates for {user}"), title_justify="left")
    table.add_column("")
    table.add_column("item")
    for heading in ("score", *names):
        table.add_column(Text(heading), justify="right")
    for position, i in enumerate(ranking.order[:top].tolist(), 1):
        outputs = (f"{ranking.tasks[task][i]:.4f}" for task in names)
        table.add_row(str(position), Text(items[i]), f"{ranking.score[i]:.4g}", *outputs)
    console.print(table)


def _from_store(
    spec: "RankingSpec",
    url: str,
    timeout: float,
    user: str,
    items: Sequence[str],
    at: int | None,
    context: Mapping[str, str | None],
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Returns both sides of a request from a store."""
    from ingest.rank_request import typed_context
    from pipeline.online.completion import Completer
    from serving.store.opening import open_store

    typed = {name.removeprefix("feature:"): value for name, value in typed_context(spec, context).items()}
    done = Completer(spec, open_store(url, timeout)).complete(user, items, at, typed)
    return done.user, done.candidates


@app.command()
def load_test(
    spec: SpecPath,
    logs: LogsDir,
    window: LogWindow = None,
    server: Server = _LOCAL,
    name: Name = None,
    version: Version = None,
    label: Label = None,
    candidates: Annotated[
        list[int], typer.Option(min=0, max=100_000, help="Candidates of a request (repeat for a row each).")
    ] = [500],  # noqa: B006 (typer only reads it)
    users: Annotated[int, typer.Option(min=1, max=10_000, help="How many people the requests are of.")] = 50,
    concurrency: Annotated[int, typer.Option(min=1, max=256, help="Clients that send at once.")] = 1,
    duration: Annotated[float, typer.Option(min=0.1, max=86_400, help="Seconds at most.")] = 10.0,
    requests: Annotated[int | None, typer.Option(min=1, help="Requests at most; by default as many as fit.")] = None,
    timeout: Timeout = 10.0,
    store: Annotated[
        bool, typer.Option("--store", help="Send ids alone, which a server with a store completes: `serve --store`.")
    ] = False,
    seed: Annotated[int, typer.Option(help="The same seed draws the same people and candidates.")] = 1,
    allow_remote: Annotated[bool, typer.Option("--allow-remote", help="Let the server be another machine.")] = False,
) -> None:
    """Send rank requests of people in the logs to a server, and print requests per second and latency percentiles.

    Ends with an error if any request fails.
    """
    from ingest.errors import IngestError
    from pipeline.cli.load_test import id_requests, is_loopback, recorded_requests
    from schema.loading import SpecError, load_spec
    from schema.served import RANK
    from serving import client
    from serving.load import drive

    if not allow_remote and not is_loopback(server):
        raise fail(f"--server {server}: is not on this machine; a load test of another one needs --allow-remote", 2)
    try:
        declared = load_spec(spec)
        requests_of = id_requests if store else recorded_requests
        recorded = requests_of(declared, logs, candidates, users, seed, window)
        target = client.Target(name or declared.name, version, label)
        with client.connect(server, target, timeout) as connection:
            prepared = [[connection.prepare(RANK, inputs) for inputs in requests_] for requests_ in recorded]
            for requests_ in prepared:
                # A first answer before the clock starts: is anybody there, and does it take such requests?
                connection.send(requests_[0])
    except (SpecError, IngestError) as error:
        raise fail(error, 2) from None
    except client.ClientError as error:
        raise fail(error, 1) from None
    table = Table(title=f"{server}, {concurrency} at once")
    for heading in ("candidates", "requests", "failed", "per second", "p50 ms", "p95 ms", "p99 ms"):
        table.add_column(heading, justify="right")
    failures: list[str] = []
    for count, requests_ in zip(candidates, prepared, strict=True):
        load = drive(lambda: client.connect(server, target, timeout), requests_, concurrency, requests, duration)
        failures += load.failures
        percentiles = (f"{load.percentile(percent) * 1000:.2f}" for percent in (50, 95, 99))
        answered = len(load.latencies)
        table.add_row(f"{count:,}", f"{answered:,}", f"{len(load.failures):,}", f"{load.qps:,.1f}", *percentiles)
    console.print(table)
    if failures:
        raise fail(f"{len(failures):,} requests failed; the first: {failures[0]}", 1)


def _pairs(option: str, texts: Sequence[str] | None) -> dict[str, str]:
    pairs = {}
    for text in texts or ():
        key, equals, value = text.partition("=")
        if not (key and equals):
            raise fail(f"{option} {text}: expected NAME=VALUE", 2)
        pairs[key] = value
    return pairs


def _number(where: str, text: str, number_type: type[T]) -> T:
    try:
        return number_type(text)
    except ValueError:
        raise fail(f"{where}: expected a number, got {text!r}", 2) from None
