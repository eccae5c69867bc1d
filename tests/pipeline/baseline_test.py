from pathlib import Path

from tfx.types import standard_artifacts

from pipeline.baseline import LatestComparableModelStrategy
from schema.loading import load_spec
from schema.spec import RankingSpec

SPEC = load_spec(Path(__file__).parents[2] / "schema" / "specs" / "deskdrop.yaml")


def model(folder: Path, number: int, spec: RankingSpec = SPEC) -> standard_artifacts.Model:
    artifact = standard_artifacts.Model()
    artifact.id, artifact.uri = number, str(folder / str(number))
    extra = Path(artifact.uri) / "Format-Serving" / "assets.extra"
    extra.mkdir(parents=True)
    (extra / "ranking_spec.json").write_text(spec.to_json())
    return artifact


def blessing(of: standard_artifacts.Model, blessed: bool = True) -> standard_artifacts.ModelBlessing:
    artifact = standard_artifacts.ModelBlessing()
    artifact.set_int_custom_property("current_model_id", of.id)
    artifact.set_int_custom_property("blessed", int(blessed))
    return artifact


def baseline(candidate, models, blessings) -> list[int]:
    resolved = LatestComparableModelStrategy().resolve_artifacts(
        None, {"candidate": [candidate], "model": [*models, candidate], "model_blessing": blessings}
    )
    return [artifact.id for artifact in resolved.get("model", [])]


def test_the_latest_blessed_model_is_the_baseline(tmp_path):
    first, second, third, candidate = (model(tmp_path, number) for number in (1, 2, 3, 4))
    blessings = [blessing(first), blessing(second), blessing(third, blessed=False)]
    assert baseline(candidate, [first, second, third], blessings) == [2]


def test_a_candidate_that_was_blessed_before_is_not_its_own_baseline(tmp_path):
    first, candidate = model(tmp_path, 1), model(tmp_path, 2)
    assert baseline(candidate, [first], [blessing(first), blessing(candidate)]) == [1]


def test_without_a_blessed_model_there_is_no_baseline(tmp_path):
    assert baseline(model(tmp_path, 1), [], []) == []


def test_a_model_that_shares_a_task_is_a_baseline_and_one_of_other_tasks_is_not(tmp_path):
    half = model(tmp_path, 1, SPEC.model_copy(update={"tasks": SPEC.tasks[:2], "gates": {}}))
    assert baseline(model(tmp_path, 2), [half], [blessing(half)]) == [1]
    renamed = tuple(task.model_copy(update={"name": f"{task.name}_it"}) for task in SPEC.tasks)
    incomparable = model(tmp_path, 3, SPEC.model_copy(update={"tasks": renamed, "gates": {}}))
    assert baseline(model(tmp_path, 4), [incomparable], [blessing(incomparable)]) == []


def test_a_model_that_reads_fewer_columns_is_a_baseline_and_one_that_reads_more_is_not(tmp_path):
    fewer = SPEC.model_copy(update={"behaviours": SPEC.behaviours[:1]})
    small, full = model(tmp_path, 1, fewer), model(tmp_path, 2)
    assert baseline(model(tmp_path, 3), [small], [blessing(small)]) == [1]
    assert baseline(model(tmp_path, 4, fewer), [full], [blessing(full)]) == []


def test_other_weights_exponents_and_gates_leave_models_comparable(tmp_path):
    tasks = tuple(task.model_copy(update={"exponent": 2.0}) for task in SPEC.tasks)
    comparable = model(tmp_path, 1, SPEC.model_copy(update={"tasks": tasks, "gates": {}, "slices": ()}))
    assert baseline(model(tmp_path, 2), [comparable], [blessing(comparable)]) == [1]


def test_a_model_whose_files_are_gone_is_no_baseline(tmp_path):
    gone = standard_artifacts.Model()
    gone.id, gone.uri = 1, str(tmp_path / "gone")
    assert baseline(model(tmp_path, 2), [gone], [blessing(gone)]) == []
