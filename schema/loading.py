"""Reads a ranking spec from YAML and says what is wrong with one: where, what was given, what was expected."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from schema.columns import example_columns, model_columns
from schema.files import SourceFiles
from schema.modelling import ANONYMOUS, AUTO_ROUTING, MOST_MULTIPLIED, Model, Training
from schema.spec import RankingSpec

_Section = TypeVar("_Section", Model, Training)


class SpecError(ValueError):
    """A ranking spec that can't be used; the message is meant for the person who wrote it."""


def load_spec(path: str | Path) -> RankingSpec:
    """Reads the YAML file `path` and returns its validated spec.

    Raises:
      SpecError: the file is absent, isn't YAML or isn't a ranking spec; each problem has its path in the file.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{path}: can't be read: {error}") from None
    try:
        declared = yaml.load(text, Loader=_SpecLoader)
    except yaml.YAMLError as error:
        raise SpecError(f"{path}: is not valid YAML: {error}") from None
    if not isinstance(declared, dict):
        raise SpecError(f"{path}: expected a mapping with `name`, `log`, `features`, `tasks`, got {_shown(declared)}")
    try:
        spec = _with_default_recipe(_with_default_routing(RankingSpec.model_validate(declared)))
        example_columns(spec)
    except ValidationError as error:
        raise SpecError("\n".join([f"{path}: not a valid ranking spec", *_problems(error)])) from None
    except ValueError as error:
        raise SpecError(f"{path}: not a valid ranking spec\n  {error}") from None
    return spec


def _with_default_routing(spec: RankingSpec) -> RankingSpec:
    return spec.model_copy(update={"model": _filled(spec.model, {"routing": AUTO_ROUTING})})


def _with_default_recipe(spec: RankingSpec) -> RankingSpec:
    """Returns the spec with the recipe of a log that tells of no user or item again, where it declares no other.

    The model's shape is part of it.
    """
    if spec.model.embed_ids or spec.training.id_mask_features or spec.statistics or spec.behaviours:
        return spec
    products = sum(column.is_embedded for column in model_columns(spec)) <= MOST_MULTIPLIED
    model, training = _filled(spec.model, {"products": products}), _filled(spec.training, ANONYMOUS)
    return spec.model_copy(update={"model": model, "training": training})


def _filled(section: _Section, defaults: Mapping[str, Any]) -> _Section:
    """Returns the section with these values of the settings that it doesn't declare."""
    undeclared = {name: value for name, value in defaults.items() if name not in section.model_fields_set}
    return section.model_copy(update=undeclared)


class _SpecLoader(yaml.SafeLoader):
    """YAML, but of two equal keys the last doesn't win in silence, and 1e-3 is a number as it is in YAML 1.2."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        keys: set[str] = set()
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "expected a plain key", key_node.start_mark)
            # A merge (`<<: *defaults`) is no key: what it brings may be overridden.
            if key_node.tag != "tag:yaml.org,2002:merge" and key_node.value in keys:
                message = f"duplicate key {key_node.value!r}"
                raise yaml.constructor.ConstructorError(None, None, message, key_node.start_mark)
            keys.add(key_node.value)
            if key_node.value in ("equals", "in", "not_in"):
                is_list = isinstance(value_node, yaml.SequenceNode)
                for word in value_node.value if is_list else [value_node]:
                    self._refuse_words_for_truth(word)
        return super().construct_mapping(node, deep)

    def _refuse_words_for_truth(self, node: yaml.Node) -> None:
        """Refuses `equals: NO`, which YAML 1.1 reads as false; Norway is meant as often."""
        if node.tag == "tag:yaml.org,2002:bool" and node.value.lower() not in ("true", "false"):
            message = f"{node.value} is read as true or false here; quote it ('{node.value}') if it is text"
            raise yaml.constructor.ConstructorError(None, None, message, node.start_mark)


_SpecLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def _problems(error: ValidationError) -> list[str]:
    lines: dict[str, str] = {}
    for problem in error.errors(include_url=False):
        location = problem["loc"]
        if not location:
            # What concerns several parts already says where, a line each.
            return [f"  {line}" for line in problem["msg"].removeprefix("Value error, ").splitlines()]
        # A union reports each of its types under the type's name; one line for the value is enough.
        where = _path(location[:-1] if _is_value(location) else _without_tag(location))
        lines.setdefault(where, f"  {where}: {_message(problem)}")
    return list(lines.values())


# In the words of YAML, where pydantic speaks Python.
_EXPECTED = {
    "tuple_type": "expected a list",
    "dict_type": "expected a mapping",
    "model_type": "expected a mapping",
    "string_pattern_mismatch": "expected lower-case letters, digits and underscores, a letter first",
}


def _message(problem: ErrorDetails) -> str:
    error_type, location, value = problem["type"], problem["loc"], problem["input"]
    message = problem["msg"].removeprefix("Value error, ")
    if error_type == "missing":
        return "is required and missing"
    if error_type == "extra_forbidden":
        return f"unknown key, got {_shown(value)}; {_expected_keys(location)}"
    if error_type == "value_error" and isinstance(value, dict):
        return message
    if _is_value(location):
        message = "expected text, a number, true or false"
    if error_type == "string_type" and isinstance(value, bool | int | float):
        # YAML reads NO, off and 007 as something else than text.
        return f"{message}, got {_shown(value)}; quote it"
    return f"{_EXPECTED.get(error_type, message)}, got {_shown(value)}"


def _is_value(location: tuple) -> bool:
    """Returns whether it is a value that a condition compares with, of which pydantic adds the type it tried."""
    return location[-2:-1] == ("equals",) or location[-3:-2] in (("in",), ("not_in",))


def _expected_keys(location: tuple) -> str:
    """Returns the keys that the mapping around an unknown key takes."""
    model: Any = RankingSpec
    for key in location[:-1]:
        if isinstance(key, str) and hasattr(model, "model_fields") and key in model.model_fields:
            model = _inner_model(model.model_fields[key].annotation) or model
    # How files are written goes last: few need to say it.
    names = sorted(model.model_fields, key=lambda name: name != "files" and name in SourceFiles.model_fields)
    return "expected one of " + ", ".join(model.model_fields[name].alias or name for name in names)


def _inner_model(annotation: Any) -> Any:
    if hasattr(annotation, "model_fields"):
        return annotation
    return next((model for argument in getattr(annotation, "__args__", ()) if (model := _inner_model(argument))), None)


def _without_tag(location: tuple) -> tuple:
    """Returns the place in the file: pydantic puts the form that was recognised after `task_experts`."""
    if "task_experts" not in location:
        return location
    after = location.index("task_experts") + 1
    return location[:after] + location[after + 1 :]


def _path(location: tuple) -> str:
    path = ""
    for step in location:
        path += f"[{step}]" if isinstance(step, int) else f".{step}" if path else str(step)
    return path


def _shown(value: Any, limit: int = 80) -> str:
    text = repr(value)
    return f"{text[:limit]}… ({type(value).__name__})" if len(text) > limit else f"{text} ({type(value).__name__})"
