"""The command `fulcrum ab-test`."""

import functools
import json
import math
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from pipeline.cli.options import SpecPath
from pipeline.cli.terminal import console, errors, fail

if TYPE_CHECKING:
    from ingest.live_logs import LiveLogs
    from pipeline.ab_test.experiment import Totals
    from pipeline.ab_test.lifts import Lift
    from pipeline.ab_test.policies import Policy
    from schema.spec import RankingSpec

app = typer.Typer()

ORACLE, RANDOM = "oracle", "random"


@app.command()
def ab_test(
    spec: SpecPath,
    logs: Annotated[Path, typer.Option(help="A folder that `fulcrum simulate` has written.")],
    model: Annotated[
        list[str] | None,
        typer.Option(help="NAME=DIR, a pushed model's folder, or NAME=grpc://HOST:PORT (repeat for an arm each)."),
    ] = None,
    control: Annotated[
        str | None, typer.Option(help="The arm that the others are compared with; by default the first model.")
    ] = None,
    users: Annotated[int, typer.Option(min=2, help="How many people take part in every arm.")] = 500,
    requests: Annotated[int, typer.Option(min=1, help="Requests of each.")] = 8,
    hours: Annotated[int, typer.Option(min=1, help="Between two requests of a person.")] = 3,
    candidates: Annotated[int, typer.Option(min=2, help="From which a request is answered.")] = 50,
    shown: Annotated[int, typer.Option(min=1, help="The first so many of them are shown.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="The same seed draws the same people, candidates and moods.")] = 1,
    json_file: Annotated[Path | None, typer.Option("--json", help="A file for the totals and the lifts.")] = None,
) -> None:
    """Let simulated people use models: each arm ranks by the fused score, people answer, and their totals are compared.

    Beside the models an oracle, which knows the truth, and a random order are arms.
    """
    from ingest.errors import IngestError
    from ingest.live_logs import LiveLogs
    from ingest.rank_request import RequestError
    from pipeline.ab_test import experiment
    from pipeline.ab_test.policies import FusedTruth, PolicyError
    from schema.loading import SpecError, load_spec
    from schema.spec import RankingSpec
    from serving.client import ClientError
    from serving.model.errors import ServingError
    from simulation.online import Population, PopulationError, draw_requests

    sources = _sources(model or [])
    reference = control or next(iter(sources), RANDOM)
    if reference not in (*sources, ORACLE, RANDOM):
        raise fail(f"--control {reference}: expected one of {', '.join((*sources, ORACLE, RANDOM))}", 2)
    if shown > candidates:
        raise fail(f"--shown {shown}: expected at most the {candidates} candidates of a request", 2)
    try:
        declared = load_spec(spec)
        population = Population.after_logs(logs)
        # Not within a request that the logs ended with.
        rounds = list(draw_requests(population.world, seed, population.hour + 1, users, requests, hours, candidates))
        FusedTruth(declared).check(population, rounds[0])
        with ExitStack() as stack:
            # Arms whose models were trained by the same spec share what is read.
            read = functools.cache(lambda text: LiveLogs.read(RankingSpec.from_json(text), str(logs)))
            arms = _arms(declared, sources, seed, read, stack)
            with Progress(console=errors, transient=True) as progress:
                reader = read(declared.to_json())
                totals = experiment.run(declared, reader, population, progress.track(rounds), arms, shown)
    except (SpecError, PopulationError, PolicyError, IngestError, RequestError) as error:
        raise fail(error, 2) from None
    except (ClientError, ServingError) as error:
        raise fail(error, 1) from None
    console.print(_table(totals, reference))
    if json_file:
        json_file.write_text(json.dumps(_as_json(totals, reference), indent=1, allow_nan=False) + "\n")


def _sources(texts: list[str]) -> dict[str, str]:
    """Returns where each model is, by its arm."""
    sources: dict[str, str] = {}
    for text in texts:
        name, equals, source = text.partition("=")
        if not (name and equals and source):
            raise fail(f"--model {text}: expected NAME=DIR or NAME=grpc://HOST:PORT", 2)
        if name in (*sources, ORACLE, RANDOM):
            raise fail(f"--model {text}: there is an arm {name} already", 2)
        sources[name] = source
    return sources


def _arms(
    spec: "RankingSpec",
    sources: dict[str, str],
    seed: int,
    read: Callable[[str], "LiveLogs"],
    stack: ExitStack,
) -> dict[str, "Policy"]:
    """Returns the policies by arm; what they have opened is closed with `stack`."""
    from pipeline.ab_test import policies
    from serving.client import Target, connect

    arms: dict[str, Policy] = {}
    for name, source in sources.items():
        if source.startswith(("grpc://", "http://")):
            connection = stack.enter_context(connect(source, Target(spec.name)))
            arms[name] = policies.ModelPolicy(read(spec.to_json()), policies.served_rank(connection))
        else:
            loaded, trained_by = policies.load_pushed(Path(source))
            stack.callback(loaded.close)
            arms[name] = policies.ModelPolicy(read(trained_by.to_json()), policies.loaded_rank(loaded))
    return arms | {ORACLE: policies.OraclePolicy(policies.FusedTruth(spec)), RANDOM: policies.RandomPolicy(seed)}


def _table(totals: "Totals", control: str) -> Table:
    users = len(totals.by_user[control])
    title = f"{totals.impressions:,} impressions of {users:,} people in each arm; total, and lift over {control}"
    table = Table(title=Text(title), title_justify="left")
    table.add_column("arm")
    for outcome in totals.outcomes:
        table.add_column(Text(outcome), justify="right")
    for arm in totals.by_user:
        lifts = totals.lifts(arm, control)
        cells = (
            f"{totals.total(arm, outcome):,.4g}" + ("" if arm == control else f"  {_shown(lifts[outcome])}")
            for outcome in totals.outcomes
        )
        table.add_row(Text(arm), *cells)
    return table


def _shown(lift: "Lift") -> str:
    if math.isnan(lift.value):
        return "no lift over 0"
    text = f"{lift.value:+.1%} ±{lift.half_width:.1%}"
    return f"[bold]{text}[/bold]" if lift.is_significant else text


def _as_json(totals: "Totals", control: str) -> dict[str, object]:
    """Returns the totals and lifts as JSON has them; a lift over nothing is null."""
    arms: dict[str, dict[str, dict[str, float | None]]] = {}
    for arm in totals.by_user:
        arms[arm] = {
            outcome: {
                "total": totals.total(arm, outcome),
                "lift": _finite_or_none(lift.value),
                "half_width": _finite_or_none(lift.half_width),
            }
            for outcome, lift in totals.lifts(arm, control).items()
        }
    users = len(totals.by_user[control])
    return {"control": control, "impressions": totals.impressions, "users": users, "arms": arms}


def _finite_or_none(number: float) -> float | None:
    return number if math.isfinite(number) else None
