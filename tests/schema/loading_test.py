import copy
from pathlib import Path

import pytest
import yaml

from schema.columns import example_columns
from schema.loading import SpecError, load_spec
from schema.spec import RankingSpec

SPECS = sorted((Path(__file__).parents[2] / "schema" / "specs").glob("*.yaml"))
SHORTVIDEO = next(path for path in SPECS if path.stem == "shortvideo")
DESKDROP = next(path for path in SPECS if path.stem == "deskdrop")


WATCH = {"name": "completion", "column": "play_ms", "kind": "regression"}


def problems(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "wrong.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SpecError) as error:
        load_spec(path)
    first, *lines = str(error.value).splitlines()
    assert first == f"{path}: not a valid ranking spec"
    return [line.strip() for line in lines]


def edited(source: Path, where: list, value: object) -> str:
    """The spec `source` with one value replaced; with `...`, left out."""
    declared = yaml.safe_load(source.read_text())
    inner = declared
    for key in where[:-1]:
        inner = inner[key]
    if value is ...:
        del inner[where[-1]]
    else:
        inner[where[-1]] = copy.deepcopy(value)
    return yaml.safe_dump(declared, sort_keys=False)


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_every_shipped_spec_loads_and_travels_as_json(path):
    spec = load_spec(path)
    assert spec.name == path.stem
    assert RankingSpec.from_json(spec.to_json()) == spec
    assert example_columns(spec)


@pytest.mark.parametrize(
    ("where", "value", "expected"),
    [
        # Unknown keys, at every depth.
        (["featurs"], [], "featurs: unknown key, got [] (list); expected one of name, log, users, items, features"),
        (["log", "userid"], "x", "log.userid: unknown key, got 'x' (str); expected one of layout, files, user"),
        (
            ["tasks", 0, "atleast"],
            3,
            "tasks[0].atleast: unknown key, got 3 (int); expected one of event, column, equals",
        ),
        (["tasks", 1, "ratio", "of"], "x", "tasks[1].ratio.of: unknown key, got 'x' (str); expected one of numerator"),
        (["gates", "like", "acu"], 0.5, "gates.like.acu: unknown key, got 0.5 (float); expected one of auc, mse"),
        # Wrong types.
        (["name"], 3, "name: Input should be a valid string, got 3 (int)"),
        (["log", "files"], 3, "log.files: expected a list, got 3 (int)"),
        (["log", "files"], [], "log.files: Value should have at least 1 item"),
        (
            ["log", "timestamp", "unit"],
            "min",
            "log.timestamp.unit: Input should be 's', 'ms', 'us', 'ns' or 'iso', got 'min'",
        ),
        (["behaviours"], "watched", "behaviours: expected a list, got 'watched' (str)"),
        (
            ["behaviours", 0, "max_length"],
            "fifty",
            "behaviours[0].max_length: Input should be a valid integer, got 'fifty'",
        ),
        (
            ["behaviours", 0, "delay"],
            300,
            "behaviours[0].delay: expected a duration such as 45s, 30m, 12h or 1d, got 300",
        ),
        (["tasks", 0, "at_least"], float("nan"), "tasks[0].at_least: Input should be a finite number, got nan"),
        (["tasks", 2, "equals"], [1], "tasks[2].equals: expected text, a number, true or false, got [1] (list)"),
        (["tasks", 2, "within"], "clicked", "tasks[2].within: expected a mapping, got 'clicked' (str)"),
        (["tasks", 0, "weight"], 0.5, "tasks[0].weight: expected a mapping, got 0.5 (float)"),
        (
            ["tasks", 0, "weight"],
            {"decay": 1.2},
            "tasks[0].weight.decay: Input should be less than or equal to 1, got 1.2",
        ),
        (["training", "epochs"], True, "training.epochs: Input should be a valid integer, got True (bool)"),
        (["training", "averaging"], 1, "training.averaging: Input should be less than 1, got 1 (int)"),
        (["training", "warmup"], 1.5, "training.warmup: expected a share of the steps below 1, or a whole number of"),
        (
            ["training", "ranking_loss"],
            {"kind": "pairwise", "tasks": {"completion": 0.1}},
            "training.ranking_loss.tasks.completion: a regression, expected a binary task: view_through, like, share, ",
        ),
        (
            ["training", "ranking_loss"],
            {"kind": "pairwise", "tasks": {"buy": 0.1}},
            "training.ranking_loss.tasks.buy: no such task, expected a binary task: view_through, like, share, ",
        ),
        (
            ["training", "ranking_loss"],
            {"kind": "lambda"},
            "training.ranking_loss.kind: Input should be 'pairwise' or 'jrc', got 'lambda'",
        ),
        (["training", "ranking_loss"], {"kind": "jrc", "weight": 0}, "training.ranking_loss.weight: Input should be "),
        (
            ["training", "id_mask_features"],
            ["duration_s"],
            "training.id_mask_features[0]: got 'duration_s', expected a feature that is not numeric: tab, ",
        ),
        (["split", "eval"], 0, "split.eval: Input should be greater than 0, got 0 (int)"),
        (["split"], {"eval": 0.5, "test": 0.5}, "split: eval + test must leave something to train on, got 0.5 + 0.5"),
        # Left out.
        (["log"], ..., "log: is required and missing"),
        (["log", "user"], ..., "log.user: is required and missing"),
        (["tasks"], ..., "tasks: is required and missing"),
        (["tasks"], [], "tasks: expected at least one, got [] (list)"),
        # Names.
        (["tasks", 2, "name"], "Like it", "tasks[2].name: expected lower-case letters, digits and underscores"),
        (["tasks", 2, "name"], "share", "tasks[3].name: got 'share', which is tasks[2]'s already"),
        (["features", 3, "name"], "hour", "features[3].name: got 'hour', which is features[2]'s already"),
        (["behaviours", 1, "name"], "watched", "behaviours[1].name: got 'watched', which is behaviours[0]'s already"),
        (["tasks", 4, "name"], "score", "tasks[4].name: got 'score', which the served model's `rank` uses itself"),
        (["features", 3, "name"], "exponents", "features[3].name: got 'exponents', which the served model's `rank`"),
        (["tasks", 4, "name"], "com", "tasks[4].name: got 'com', a prefix of the task 'completion'"),
        (
            ["features", 1, "name"],
            "item_id",
            "the example column 'item_id' would be written twice, as the id 'item_id'",
        ),
        # Features.
        (["items"], ..., "features[8] (author): `source: items` needs the table `items`, which is not declared"),
        (
            ["features", 0, "kind"],
            ...,
            "features[0]: expected `kind` (categorical, numeric, multi or vector) or `derive`",
        ),
        (
            ["features", 0],
            {"name": "e", "source": "log", "kind": "vector"},
            "features[0]: `kind: vector` needs `size`, how many numbers each vector has",
        ),
        (
            ["features", 0],
            {"name": "e", "source": "log", "kind": "vector", "size": 2, "scale": "log"},
            "features[0]: got `kind: vector` with `scale: log`, expected `scale` to be one of none, standardize, l2",
        ),
        (
            ["features", 7, "scale"],
            "l2",
            "features[7]: got `kind: numeric` with `scale: l2`, expected `scale` to be one of standardize, log",
        ),
        (["features", 0, "size"], 2, "features[0]: `size` belongs to `kind: vector`, got `kind: categorical`"),
        (
            ["features", 0],
            {"name": "tab", "source": "log", "kind": "vector", "size": 2},
            "slices[0][0]: got 'tab', expected a feature, neither numeric nor a vector: network",
        ),
        (["features", 0, "derive"], "hour_of_day", "features[0]: a derived feature takes neither `column` nor `kind`"),
        (["features", 2, "source"], "users", "features[2]: a derived feature comes from the timestamp: `source: log`"),
        (
            ["features", 0, "scale"],
            "log",
            "features[0]: `scale` belongs to `kind: numeric` or `kind: vector`, got `kind: categorical`",
        ),
        (["features", 7, "buckets"], 5, "features[7]: `buckets` belongs to `kind: numeric` with `scale: buckets`, got"),
        (
            ["features", 7, "vocabulary"],
            "x",
            "features[7]: `vocabulary` belongs to a categorical, multi or derived feature",
        ),
        (
            ["features", 0, "separator"],
            ";",
            "features[0]: `separator` belongs to `kind: multi` or `kind: vector`, got",
        ),
        (
            ["features", 0, "column"],
            "like",
            "features[0] (tab): got the column 'like', which task 'like' predicts; expected one that is known",
        ),
        # Conditions.
        (["tasks", 0, "at_most"], 5, "tasks[0]: expected one comparison, got at_least and at_most"),
        (
            ["tasks", 1, "column"],
            "x",
            "tasks[1]: expected exactly one of `event` or `column` or `ratio`, got column and ratio",
        ),
        (["tasks", 1, "equals"], 1, "tasks[1]: `equals` compares a `column`, got `ratio`"),
        (["tasks", 2, "column"], ..., "tasks[2]: expected exactly one of `event` or `column` or `ratio`, got none"),
        (["behaviours", 0], {"name": "seen"}, "behaviours[0]: expected exactly one of `event` or `column`, got none"),
        (["tasks", 2], {"name": "like", "event": "LIKE"}, "tasks[2] (like): got `event`, which needs layout `events`"),
        (["tasks", 2, "within"], {"event": "X"}, "tasks[2].within (like): got `event`, which needs layout `events`"),
        # Slices and gates.
        (
            ["slices"],
            [["tab"], ["nope"]],
            "slices[1][0]: got 'nope', expected a feature, neither numeric nor a vector",
        ),
        (
            ["slices"],
            [["duration_s"]],
            "slices[0][0]: got 'duration_s', expected a feature, neither numeric nor a vector",
        ),
        (["slices"], [["tab", "tab"]], "slices[0][1]: got 'tab' twice"),
        (
            ["slices"],
            [["user_tab.impressions"]],
            "slices[0][0]: got 'user_tab.impressions', expected a feature, neither numeric nor a vector: tab, network",
        ),
        (["slices"], [["Tab"]], "slices[0][0]: "),
        (["gates", "like"], {"grouped_auc": 1.5}, "gates.like.grouped_auc: "),
        (
            ["gates", "completion"],
            {"grouped_auc": 0.6},
            "gates.completion.grouped_auc: completion is a regression, which has no grouped AUC",
        ),
        (
            ["gates", "completion"],
            {"grouped_max_drop": 0.6},
            "gates.completion.grouped_max_drop: completion is a regression, which has no grouped AUC",
        ),
        (["slices"], [[]], "slices[0]: expected at least one, got [] (list)"),
        (["gates", "likes"], {"auc": 0.5}, "gates.likes: no such task, expected one of view_through, completion, like"),
        (["gates", "like"], {"mse": 0.5}, "gates.like.mse: like is a binary task, expected `auc` or `max_drop`"),
        (
            ["gates", "like"],
            {"slices": {"max_drop": 0.1, "keys": [["hour"]]}},
            "gates.like.slices.keys[0]: got ['hour'], expected one of the spec's slices: [",
        ),
        (
            ["gates", "like"],
            {"max_drop": 0.1, "if_unjudged": "ignore"},
            "gates.like.if_unjudged: Input should be 'block' or 'pass', got 'ignore'",
        ),
        (
            ["gates", "like"],
            {"max_loss": -0.1},
            "gates.like.max_loss: Input should be greater than or equal to 0, got -0.1",
        ),
        (["gates", "like"], {"min_gain": "x"}, "gates.like.min_gain: Input should be a valid number, got 'x'"),
        (["gates", "completion"], {"auc": 0.5}, "gates.completion.auc: completion is a regression, expected `mse`"),
        # Regressions without bounds.
        (
            ["tasks", 1],
            {**WATCH, "exponent": 1.0},
            "tasks[1]: exponent: got 1, expected 0 or `transform: log1p`: completion may be negative, and the score is",
        ),
        (
            ["tasks", 1],
            {"name": "completion", "event": "x", "kind": "regression"},
            "tasks[1]: `kind: regression` is of a `column`'s values, got an `event`",
        ),
        (
            ["tasks", 1, "kind"],
            "regression",
            "tasks[1]: `kind: regression` is of a `column`'s values, got a `ratio`, a regression in [0, 1] already",
        ),
        (
            ["tasks", 1],
            {**WATCH, "above": 3.0},
            "tasks[1]: `kind: regression` is of a column's values, got `above`, which is binary",
        ),
        (["tasks", 1, "scale"], 0.5, "tasks[1]: `scale` belongs to `kind: regression`, got 0.5 without it"),
        (["tasks", 1, "loss"], "huber", "tasks[1]: `loss` belongs to `kind: regression`, got 'huber' without it"),
        (["tasks", 1], {**WATCH, "scale": 0}, "tasks[1].scale: Input should be greater than 0, got 0 (int)"),
        (["tasks", 1], {**WATCH, "transform": "log"}, "tasks[1].transform: Input should be 'none' or 'log1p'"),
        # The model's shape.
        (["model"], {"task_experts": 0}, "model.task_experts: Input should be greater than or equal to 1, got 0 (int)"),
        (
            ["model"],
            {"task_experts": {"like": 0}},
            "model.task_experts.like: Input should be greater than or equal to 1, got 0 (int)",
        ),
        (
            ["model"],
            {"task_experts": {"view_through": 1, "completion": 1, "like": 1, "comment": 1}},
            "model.task_experts: no expert for task 'share', expected a count for each task",
        ),
        (
            ["model"],
            {"task_experts": {"likes": 1}},
            "model.task_experts.likes: no such task, expected one of view_through, completion, like, share, comment",
        ),
        (["model"], {"task_experts": [1, 2]}, "model.task_experts: got 2 counts, expected 5, one per task"),
        (["model"], {"task_experts": "two"}, "model.task_experts: Input should be a valid integer, got 'two' (str)"),
        (["model"], {"bottom": "deep"}, "model.bottom: Input should be 'plain', 'dtrn' or 'din', got 'deep' (str)"),
        (
            ["model"],
            {"bottom": "dtrn", "dtrn": {"behaviours": ["liked", "bought"]}},
            "model.dtrn.behaviours[1]: got 'bought', which has no sequence, expected of `behaviours`: watched, liked",
        ),
        (["model"], {"dtrn": {"behaviours": ["liked"] * 2}}, "model.dtrn.behaviours[1]: got 'liked' twice"),
        (
            ["model"],
            {"dtrn": {"units": 10, "heads": 4}},
            "model.dtrn: expected `units` to be a multiple of `heads`, got 10 and 4",
        ),
        (
            ["model"],
            {"dtrn": {"unit": 8}},
            "model.dtrn.unit: unknown key, got 8 (int); expected one of behaviours, units",
        ),
        (
            ["model"],
            {"din": {"behaviours": ["bought"]}},
            "model.din.behaviours[0]: got 'bought', which has no sequence, expected of `behaviours`: watched, liked",
        ),
        (
            ["model"],
            {"din": {"units": [0]}},
            "model.din.units[0]: Input should be greater than or equal to 1, got 0 (int)",
        ),
        (["model"], {"levels": 0}, "model.levels: Input should be greater than or equal to 1, got 0 (int)"),
        (
            ["model"],
            {"expert_units": [64, "x"]},
            "model.expert_units[1]: Input should be a valid integer, got 'x' (str)",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_path(tmp_path, where, value, expected):
    messages = problems(tmp_path, edited(SHORTVIDEO, where, value))
    assert any(line.startswith(expected) for line in messages), messages


@pytest.mark.parametrize(
    ("fields", "exponent", "domain"),
    [
        ({}, 0.0, "a finite number"),
        ({"exponent": 0}, 0.0, "a finite number"),
        ({"transform": "log1p"}, 1.0, "at least 0"),
        ({"transform": "log1p", "exponent": 0.5}, 0.5, "at least 0"),
    ],
)
def test_a_regression_without_bounds_is_in_the_score_where_it_has_a_power(tmp_path, fields, exponent, domain):
    path = tmp_path / "spec.yaml"
    path.write_text(edited(SHORTVIDEO, ["tasks", 1], {**WATCH, **fields}))
    spec = load_spec(path)
    task = spec.tasks[1]
    assert (task.exponent, str(task.domain), task.is_regression) == (exponent, domain, True)
    assert RankingSpec.from_json(spec.to_json()) == spec
    assert [str(other_task.domain) for other_task in (*spec.tasks[:1], *spec.tasks[2:])] == ["within [0, 1]"] * 4


@pytest.mark.parametrize(
    ("where", "value", "expected"),
    [
        (["log", "event"], ..., "log: layout `events` needs `event`"),
        (["log", "attribution_window"], "1 day", "log.attribution_window: expected a duration"),
        (["log", "attribution_window"], "0d", "log.attribution_window: Input should be greater than 0, got '0d' (str)"),
        (
            ["tasks", 0],
            {"name": "like", "column": "like"},
            "tasks[0] (like): got `column`, which needs layout `impressions`",
        ),
        (["tasks", 0, "event"], "VIEW", "tasks[0].event: got 'VIEW', the impression itself; every label would be 1"),
        # YAML 1.1 reads NO as false.
        (["tasks", 0, "event"], False, "tasks[0].event: Input should be a valid string, got False (bool)"),
        (
            ["training", "ranking_loss"],
            {"kind": "jrc", "within": "request"},
            "training.ranking_loss.within: got 'request', which needs `log.request`; expected that, or `user`",
        ),
    ],
)
def test_what_is_wrong_in_an_event_log_is_named_with_its_path(tmp_path, where, value, expected):
    messages = problems(tmp_path, edited(DESKDROP, where, value))
    assert any(line.startswith(expected) for line in messages), messages


@pytest.mark.parametrize("bottom", ["dtrn", "din"])
@pytest.mark.parametrize("tried", [False, True])
def test_attention_needs_behaviours_and_something_of_the_item_in_them(tmp_path, bottom, tried):
    declared = yaml.safe_load(DESKDROP.read_text())
    declared["model"] = {"embed_ids": ["user_id"]}
    if tried:
        declared["tuning"] = {"bottom": ["plain", bottom]}
    else:
        declared["model"]["bottom"] = bottom
    got = f"tuning.bottom[1]: got {bottom!r}" if tried else f"model.bottom: got {bottom!r}"
    (line,) = problems(tmp_path, yaml.safe_dump(declared))
    assert line.startswith(f"{got}, whose sequences would hold nothing but ages, expected `item_id`")
    declared["model"]["embed_ids"] = ["item_id"]
    declared["behaviours"] = []
    (line,) = problems(tmp_path, yaml.safe_dump(declared))
    assert line == f"{got}, which reads behaviour sequences, expected at least one of `behaviours`"


def test_every_problem_is_told_at_once(tmp_path):
    declared = yaml.safe_load(SHORTVIDEO.read_text())
    declared["log"]["user"] = 5
    declared["training"]["epochs"] = "many"
    declared["tasks"][0]["atleast"] = 1
    where = [line.split(":")[0] for line in problems(tmp_path, yaml.safe_dump(declared))]
    assert where == ["log.user", "tasks[0].atleast", "training.epochs"]


def test_every_part_that_does_not_fit_is_told_at_once(tmp_path):
    declared = yaml.safe_load(SHORTVIDEO.read_text())
    declared["slices"] = [["nope"]]
    declared["gates"] = {"nobody": {}}
    where = [line.split(":")[0] for line in problems(tmp_path, yaml.safe_dump(declared))]
    assert where == ["slices[0][0]", "gates.nobody"]


def test_a_long_value_is_cut_short_in_a_message(tmp_path):
    (line,) = problems(tmp_path, edited(SHORTVIDEO, ["name"], ["x" * 1_000_000]))
    assert len(line) < 200


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "expected a mapping with `name`, `log`, `features`, `tasks`, got None"),
        ("- a\n- b\n", r"expected a mapping with `name`, `log`, `features`, `tasks`, got \['a', 'b'\] \(list\)"),
        ("name: [unclosed\n", r"is not valid YAML"),
        ("name: a\nname: b\n", r"duplicate key 'name'\n.*line 2, column 1"),
        ("log: {user: a, user: b}\n", "duplicate key 'user'"),
        ("? [a, b]\n: c\n", "expected a plain key"),
        ("name: \x00\n", "is not valid YAML"),
        ("x: &x [*x]\ny: *x\nname: *nowhere\n", "undefined alias 'nowhere'"),
    ],
)
def test_a_file_that_is_no_mapping_is_refused(tmp_path, text, expected):
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(SpecError, match=expected):
        load_spec(path)


def test_an_absent_or_unreadable_file_is_refused_by_name(tmp_path):
    with pytest.raises(SpecError, match=r"absent\.yaml: can't be read: .*No such file"):
        load_spec(tmp_path / "absent.yaml")
    with pytest.raises(SpecError, match=r"can't be read: .*directory"):
        load_spec(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"name: caf\xe9\n")
    with pytest.raises(SpecError, match=r"can't be read: 'utf-8' codec"):
        load_spec(tmp_path / "latin.yaml")


def test_a_rate_may_be_written_in_scientific_notation(tmp_path):
    path = tmp_path / "spec.yaml"
    path.write_text(SHORTVIDEO.read_text().replace("training: {epochs: 5", "training: {learning_rate: 1e-3, epochs: 5"))
    assert load_spec(path).training.learning_rate == 0.001


def test_yaml_anchors_and_merges_work(tmp_path):
    path = tmp_path / "spec.yaml"
    text = SHORTVIDEO.read_text()
    text = text.replace("  like: {auc: 0.65, max_drop: 0.01}", "  like: &gate {auc: 0.65, max_drop: 0.01}")
    text = text.replace("  share: {auc: 0.65, max_drop: 0.015}", "  share: {<<: *gate, max_drop: 0.02}")
    path.write_text(text)
    gates = load_spec(path).gates
    assert (gates["share"].auc, gates["share"].max_drop) == (0.65, 0.02)


def test_a_ranking_loss_needs_a_binary_task(tmp_path):
    declared = yaml.safe_load(SHORTVIDEO.read_text())
    declared |= {"tasks": declared["tasks"][1:2], "gates": {}, "training": {"ranking_loss": {"kind": "jrc"}}}
    (line,) = problems(tmp_path, yaml.safe_dump(declared))
    assert line == "training.ranking_loss: no task is binary, expected at least one that it can order"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("equals: NO", "NO is read as true or false here; quote it ('NO') if it is text"),
        ("event: NO", "got False (bool); quote it"),
        ("event: 007", "got 7 (int); quote it"),
    ],
)
def test_a_word_that_yaml_takes_for_something_else_is_to_be_quoted(tmp_path, line, said):
    path = tmp_path / "spec.yaml"
    path.write_text(f"name: a\ntasks:\n- name: like\n  column: c\n  {line}\n")
    with pytest.raises(SpecError) as error:
        load_spec(path)
    assert said in str(error.value)


def test_without_a_routing_a_file_means_auto_and_json_of_earlier_versions_ple(tmp_path):
    declared = yaml.safe_load(DESKDROP.read_text())
    routings = []
    for model in (None, {"levels": 1}, {"routing": "ple"}):
        path = tmp_path / "spec.yaml"
        path.write_text(yaml.safe_dump(declared | ({"model": model} if model else {})))
        spec = load_spec(path)
        assert RankingSpec.from_json(spec.to_json()) == spec
        routings.append(spec.model.routing)
    assert routings == ["auto", "auto", "ple"]
    # It was the default, which JSON leaves out.
    assert "routing" not in spec.to_json()


@pytest.mark.parametrize("tells", ["model", "statistics", "behaviours", "id_mask_features", "nothing"])
def test_a_log_that_tells_of_no_one_again_has_a_recipe_of_its_own(tmp_path, tells):
    declared = yaml.safe_load(SHORTVIDEO.read_text())
    kept = {"model": {}, "statistics": declared.pop("statistics"), "behaviours": declared.pop("behaviours")}
    declared |= {"model": {"embed_ids": []}, "slices": [], "training": {"dropout": 0.2}}
    declared |= {tells: kept[tells]} if tells in kept else {}
    if tells == "id_mask_features":
        declared["training"][tells] = ["author"]
    path = tmp_path / "spec.yaml"
    path.write_text(yaml.safe_dump(declared))
    spec = load_spec(path)
    expected = (0.01, 0.0, 0.2, True) if tells == "nothing" else (0.001, None, 0.2, False)
    training = spec.training
    assert (training.learning_rate, training.weight_decay, training.dropout, spec.model.products) == expected
    assert RankingSpec.from_json(spec.to_json()) == spec


@pytest.mark.parametrize(("categories", "products"), [(64, True), (65, False)])
def test_too_many_embeddings_are_not_multiplied_by_default(tmp_path, categories, products):
    declared = yaml.safe_load(SHORTVIDEO.read_text())
    del declared["statistics"], declared["behaviours"]
    columns = [{"name": f"f{i}", "source": "items", "kind": "categorical"} for i in range(categories)]
    declared |= {"model": {"embed_ids": []}, "slices": [], "features": columns}
    path = tmp_path / "spec.yaml"
    path.write_text(yaml.safe_dump(declared))
    assert load_spec(path).model.products is products
    path.write_text(yaml.safe_dump(declared | {"model": {"embed_ids": [], "products": True}}))
    assert load_spec(path).model.products
