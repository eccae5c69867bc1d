"""Reads a ranking spec from YAML, and says what is wrong with one: the path in the file, what was given, what was expected."""

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from schema.spec import RankingSpec


class SpecError(ValueError):
    """A ranking spec that can't be used; the message is meant for the person who wrote it."""


def load_spec(path: str | Path) -> RankingSpec:
    """The validated spec in the YAML file `path`.

    Raises:
      SpecError: the file is absent, isn't YAML, or isn't a ranking spec; each problem is named with its path in the file.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{path}: can't be read: {error}") from None
    try:
        declared = yaml.load(text, Loader=_UniqueKeyLoader)
    except yaml.YAMLError as error:
        raise SpecError(f"{path}: is not valid YAML: {error}") from None
    if not isinstance(declared, dict):
        raise SpecError(f"{path}: expected a mapping with `name`, `log`, `features`, `tasks`, got {_shown(declared)}")
    try:
        return RankingSpec.model_validate(declared)
    except ValidationError as error:
        raise SpecError("\n".join([f"{path}: not a valid ranking spec", *_problems(error)])) from None


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML lets the last of two equal keys win in silence; a spec must not."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"duplicate key {key!r}", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def _problems(error: ValidationError) -> list[str]:
    lines: dict[str, str] = {}
    for problem in error.errors(include_url=False):
        # A union's branches each report under their own tag ("equals", "str"); one line for the value is enough.
        location = tuple(part for part in problem["loc"] if part not in _UNION_TAGS)
        where = _path(location) or "the spec"
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            line = f"unknown key, got {_shown(problem['input'])}; {_expected_keys(location)}"
        elif problem["type"] == "missing":
            line = "is required and missing"
        elif problem["type"] == "value_error" and isinstance(problem["input"], dict):
            line = message
        else:
            line = f"{message}, got {_shown(problem['input'])}"
        lines.setdefault(where, f"  {where}: {line}")
    return list(lines.values())


_UNION_TAGS = {"str", "int", "float", "bool"}


def _expected_keys(location: tuple) -> str:
    """The keys that the mapping around an unknown key takes."""
    model: Any = RankingSpec
    for part in location[:-1]:
        if isinstance(part, str) and hasattr(model, "model_fields") and part in model.model_fields:
            model = _inner_model(model.model_fields[part].annotation) or model
    return "expected one of " + ", ".join(model.model_fields)


def _inner_model(annotation: Any) -> Any:
    if hasattr(annotation, "model_fields"):
        return annotation
    return next((found for part in getattr(annotation, "__args__", ()) if (found := _inner_model(part))), None)


def _path(location: tuple) -> str:
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path


def _shown(value: Any, limit: int = 80) -> str:
    text = repr(value)
    return f"{text[:limit]}… ({type(value).__name__})" if len(text) > limit else f"{text} ({type(value).__name__})"
