"""Each field of the spec belongs to a stage: a change of it changes the parts of those stages, and of no others."""

import typing
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from schema.spec import RankingSpec, Training
from schema.stages import STAGES

# Every section is there, so that every field can be changed.
COMPLETE = RankingSpec.model_validate(
    {
        "name": "shop",
        "log": {
            "layout": "impressions",
            "files": "*.csv",
            "user": "u",
            "item": "i",
            "timestamp": {"column": "t"},
            "request": {"column": "r"},
            "where": [{"column": "b", "at_least": 0}],
        },
        "users": {"files": "users.csv", "key": "u", "where": [{"column": "u"}]},
        "items": {"files": "items.csv", "key": "i", "where": [{"column": "i"}]},
        "features": [
            {"name": "country", "source": "log", "kind": "categorical"},
            {"name": "tastes", "source": "log", "kind": "map"},
        ],
        "derive": [{"name": "taste", "look_up": {"map": "tastes", "key": "country"}}],
        "behaviours": [{"name": "bought", "column": "bought"}],
        "tasks": [
            {"name": "share", "ratio": {"numerator": "a", "denominator": "b"}, "within": {"column": "bought"}},
            {"name": "buy", "column": "bought"},
        ],
        "weight": {"column": "w"},
        "statistics": {"by": ["item"], "measures": [{"name": "skip", "column": "a", "below": 2}]},
        "slices": [["country"]],
        "gates": {"buy": {"auc": 0.6, "slices": {"max_drop": 0.1}}},
        "drift": {"limits": {"country": 0.1}},
        "training": {"ranking_loss": {"kind": "jrc", "within": "request"}},
        "tuning": {"routing": ["ple", "mmoe"]},
    }
)

EVERY = set(STAGES)
# Which stages read which fields. A section that each stage takes as a whole or not at all stands for all its fields;
# of the others each field is named, so that a new one has to be added here by someone who thought of its stages.
READERS: list[tuple[set[str], str]] = [
    (EVERY, "name behaviours weight"),
    (EVERY, "log.layout log.user log.item log.timestamp log.event log.impression"),
    (EVERY, "log.format log.compression log.separator log.quotes log.header log.columns log.encoding"),
    (EVERY, "log.missing log.order log.where log.duplicates"),
    (EVERY, "log.attribution_window log.allowed_lateness log.request"),
    (EVERY - {"snapshot"}, "log.files log.max_bad_rows log.unripe users items split"),
    (EVERY, "features.name features.source features.column features.kind features.derive features.separator"),
    (EVERY, "features.size features.strip features.values"),
    (EVERY - {"snapshot", "ingest"}, "derive"),
    (EVERY - {"ingest"}, "features.vocabulary features.scale features.buckets"),
    (EVERY, "tasks.name tasks.event tasks.column tasks.ratio tasks.within"),
    (EVERY, "tasks.equals tasks.at_least tasks.at_most tasks.above tasks.below"),
    (
        EVERY - {"snapshot"},
        "statistics.by statistics.delay statistics.half_lives statistics.windows statistics.lifetime",
    ),
    (EVERY - {"snapshot"}, "statistics.of statistics.measures statistics.granularity statistics.age statistics.expire"),
    (EVERY - {"snapshot", "ingest"}, "statistics.prior_strength"),
    (EVERY, "tasks.kind tasks.scale tasks.transform"),
    ({"training"}, "tasks.weight tasks.loss"),
    ({"training", "serving"}, "tasks.exponent"),
    ({"evaluation"}, "slices gates"),
    ({"transform", "training"}, "model.min_frequency model.max_vocabulary model.oov_buckets"),
    ({"training"}, "model.routing model.bottom model.dtrn model.din model.levels"),
    ({"training"}, "model.task_experts model.shared_experts"),
    ({"training"}, "model.expert_units model.tower_units model.embedding_dim model.embed_ids model.products"),
    ({"training"}, "training.epochs training.batch_size training.learning_rate training.patience training.seed"),
    ({"training"}, "training.embedding_optimizer training.embedding_learning_rate training.loss_balancing"),
    ({"training"}, "training.precision training.distribution training.ratio_loss training.stop_by training.averaging"),
    ({"training"}, "training.schedule training.warmup training.weight_decay training.clip_norm training.embedding_l2"),
    ({"training"}, "training.dropout training.embedding_dropout training.id_mask training.id_mask_features"),
    ({"training"}, "training.ranking_loss.kind training.ranking_loss.weight training.ranking_loss.tasks"),
    # Transform writes which examples it orders among themselves.
    ({"transform", "training"}, "training.ranking_loss.within"),
    ({"training"}, "tuning"),
    # They say which nodes the graph has; tests/pipeline/stages_test.py shows it.
    (set(), "drift training.reference"),
]
STAGES_OF = {name: stages for stages, names in READERS for name in names.split()}


def sections_in(annotation: Any) -> bool:
    if isinstance(annotation, type) and not typing.get_args(annotation):
        return issubclass(annotation, BaseModel)
    return any(sections_in(argument) for argument in typing.get_args(annotation))


def changed_value(value: Any) -> Any:
    """Returns another value than `value`; whether the spec would allow it doesn't matter to a cache."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, str):
        return f"{value}_"
    if isinstance(value, tuple):
        return (*value, "x")
    return {**value, "x": 1.0} if isinstance(value, dict) else "x"


def changes(section: BaseModel) -> Iterator[tuple[str, BaseModel]]:
    """Yields each field below `section`, by its dotted name, with a copy of `section` in which it alone has changed."""
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            inner = ((path, copy) for path, copy in changes(value))
        elif isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
            inner = ((path, (copy, *value[1:])) for path, copy in changes(value[0]))
        elif isinstance(value, dict) and value and isinstance(first := next(iter(value.values())), BaseModel):
            inner = ((path, dict.fromkeys(value, copy)) for path, copy in changes(first))
        else:
            assert not sections_in(field.annotation), f"COMPLETE lacks `{name}` of {type(section).__name__}"
            inner = iter([("", changed_value(value))])
        for path, copy in inner:
            yield f"{name}.{path}".rstrip("."), section.model_copy(update={name: copy})


CHANGES = dict(changes(COMPLETE))


@pytest.mark.parametrize("path", CHANGES)
def test_a_change_of_a_field_changes_the_parts_of_the_stages_that_read_it_and_no_others(path):
    names = path.split(".")
    sections = [".".join(names[:depth]) for depth in range(1, len(names) + 1)]
    declared = [section for section in sections if section in STAGES_OF]
    assert declared, f"{path}: belongs to no stage; add it to the parts in schema/stages.py that need it, and here"
    changed = {stage for stage, part in STAGES.items() if part(CHANGES[path]).to_json() != part(COMPLETE).to_json()}
    assert changed == STAGES_OF[declared[0]]


def test_no_stage_is_said_to_read_a_field_that_does_not_exist():
    assert [name for name in STAGES_OF if not any(f"{path}.".startswith(f"{name}.") for path in CHANGES)] == []


def test_a_new_field_has_no_stage_until_it_is_added_here():
    class Extended(type(COMPLETE.model)):
        dropout: float = 0.0

    extended = COMPLETE.model_copy(update={"model": Extended()})
    new = {path for path, _ in changes(extended)} - set(CHANGES)
    assert new == {"model.dropout"}
    assert not new & set(STAGES_OF)
    assert "model" not in STAGES_OF


@pytest.mark.parametrize("stage", STAGES)
def test_a_part_is_all_that_there_is_to_its_part(stage):
    part = STAGES[stage](COMPLETE)
    assert STAGES[stage](part) == part
    assert RankingSpec.model_validate_json(part.to_json()).to_json() == part.to_json()


def test_a_ranking_loss_is_declared_to_the_stages_that_read_it():
    without = COMPLETE.model_copy(update={"training": Training()})
    changed = {stage for stage, part in STAGES.items() if part(without).to_json() != part(COMPLETE).to_json()}
    assert changed == {"transform", "training"}
