"""`kill -9` in every stage, one after the other, then the same command: the result is as without a kill."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import tensorflow as tf
from evaluations import epochs, metrics
from killed import WRITING, Moment, run_to_its_end, run_until
from whole_runs import WINDOW, Run, Simulated, stages

from report.summary import load_summary

# The first to ask waits for two whole runs, one of them in pieces.
pytestmark = pytest.mark.timeout(1_800)


def _in(*stages: str) -> list[Moment]:
    return [Moment(stage, f"artifacts/{stage}/**/*") for stage in stages]


MOMENTS = [
    *_in("InteractionExampleGen"),
    # Each statistic's sums are merged, and what the next day's run begins with is written.
    *(Moment("InteractionExampleGen", f"state/*-statistics-{name}-*/**/*") for name in ("item", "user_tab")),
    *_in("SchemaSource", "StatisticsGen", "DistributionValidator", "ExampleValidator", "AnomalyCheck", "DriftCheck"),
    *_in("Transform"),
    Moment("Trainer", "checkpoints/**/*", says="epoch 1/"),
    *_in("ServingValidator", "SeesawEvaluator"),
    Moment("Pusher", "serving/**/*"),
    *_in("EvaluationReport"),
]


@dataclass(frozen=True)
class Killed:
    """A run that was killed at each of `MOMENTS`; what each attempt had printed, and then the last one, left alone."""

    output: Path
    attempts: tuple[str, ...]
    last: str


@pytest.fixture(scope="module")
def killed(simulated: Simulated, tmp_path_factory) -> Killed:
    folder = tmp_path_factory.mktemp("killed")
    output = folder / "output"
    output.mkdir()
    command = ["run", simulated.spec, "--logs", simulated.logs, "--window", WINDOW, "--output", output]
    arguments = [str(argument) for argument in command]
    attempts = tuple(
        run_until(moment, arguments, output, folder / f"{number}-{moment.stage}.txt")
        for number, moment in enumerate(MOMENTS)
    )
    return Killed(output, attempts, run_to_its_end(arguments, folder / "last.txt"))


def records(split: Path) -> list[bytes]:
    """The serialised examples, whatever their order."""
    return sorted(tf.data.TFRecordDataset(sorted(map(str, split.iterdir())), "GZIP").as_numpy_iterator())


def content(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_every_stage_was_killed_once_or_more(killed: Killed):
    # What finds the baseline writes nothing.
    assert {moment.stage for moment in MOMENTS} == {*stages(killed.last)} - {"BaselineResolver"}
    for moment, said in zip(MOMENTS, killed.attempts, strict=True):
        assert moment.stage not in stages(said)
        if not moment.files.startswith("artifacts"):
            assert WRITING in said


def test_what_was_done_comes_from_the_cache_and_training_goes_on_after_its_last_epoch(killed: Killed):
    assert any("going on after epoch" in said for said in killed.attempts)
    fresh = [stage for stage, cached in stages(killed.last).items() if not cached]
    assert fresh == ["BaselineResolver", "EvaluationReport"]


def test_a_killed_run_goes_on_to_the_same_result(killed: Killed, run: Run):
    resumed, alone = load_summary(killed.output), load_summary(run.output)
    for split in ("train", "eval", "test"):
        ours, theirs = (Path(summary.places["examples"]) / f"Split-{split}" for summary in (resumed, alone))
        assert records(ours) == records(theirs)
    assert content(killed.output / "state") == content(run.output / "state")
    ours, theirs = (epochs(Path(summary.places["TensorBoard logs"])) for summary in (resumed, alone))
    assert ours == pytest.approx(theirs, abs=1e-6)
    ours, theirs = (metrics(summary.places["evaluation"]) for summary in (resumed, alone))
    assert ours == pytest.approx(theirs, abs=1e-6)
    assert (resumed.blessed, resumed.refused) == (alone.blessed, alone.refused) == (True, "")
    assert Path(resumed.places["report"]).is_file()


def test_of_a_killed_push_no_model_is_left_but_whole_ones(killed: Killed):
    versions = sorted((killed.output / "serving" / "shortvideo").iterdir())
    assert len(versions) > 1
    # On a fast machine the kill may come when all has been copied, but before the run knows.
    models = [content(version) for version in versions if (version / "saved_model.pb").exists()]
    assert (versions[-1] / "saved_model.pb").exists()
    trained = content(Path(load_summary(killed.output).places["model"]) / "Format-Serving")
    for pushed in models:
        assert {name: pushed[name] for name in trained} == trained
