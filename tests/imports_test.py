"""No module is named in a string where import-linter can't see it."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

PROJECT = Path(__file__).parents[1]
PACKAGES = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["importlinter"]["root_packages"]
# The DAG names the functions that TFX calls, the entry point the executors that compiled files name, and benchmarks the
# command that they start.
EXEMPT = {"pipeline/pipeline.py", "pipeline/runners/entrypoint.py", "benchmarks/command.py"}
DOTTED = re.compile(rf"(?<![\w./-])((?:{'|'.join(PACKAGES)})(?:\.\w+)+)")


def room(parts: tuple[str, ...]) -> str:
    """The part of the code that may name its own modules: a package, or a component."""
    return "/".join(parts[: 2 if parts[0] == "components" else 1]).removesuffix(".py")


def texts(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """The strings of a module and their lines, but for docstrings and other texts that stand alone."""
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in alone:
            yield node.lineno, node.value


def is_module(parts: tuple[str, ...]) -> bool:
    """Whether the first two are a module or package, and no name of a file such as `report.html`."""
    path = PROJECT.joinpath(*parts[:2])
    return path.is_dir() or path.with_suffix(".py").is_file()


def foreign_paths(source: str, file: str) -> list[str]:
    """The modules of another room that strings in the source of a file name, each with its line."""
    own_room = room(Path(file).parts)
    named = [
        (line, name.split(".")) for line, text in sorted(texts(ast.parse(source))) for name in DOTTED.findall(text)
    ]
    return [
        f"{file}:{line}: {'.'.join(parts)}"
        for line, parts in named
        if is_module(parts) and room(tuple(parts)) != own_room
    ]


def test_no_string_names_a_module_of_another_package():
    files = [file for package in PACKAGES for file in sorted((PROJECT / package).rglob("*.py"))]
    assert len(files) > 200
    paths = {str(file.relative_to(PROJECT)): file for file in files}
    foreign = [
        finding
        for path, file in paths.items()
        if path not in EXEMPT
        for finding in foreign_paths(file.read_text(), path)
    ]
    assert not foreign, "\n".join(foreign)


def test_one_that_does_is_found_and_its_own_is_not():
    source = '''"""Calls `models.trainer.run_fn`."""
command = ["-m", "components.serving_validator.probe"]
run_fn = "models.trainer.run_fn"
page = "report.html"
'''
    assert foreign_paths(source, "components/trainer.py") == [
        "components/trainer.py:2: components.serving_validator.probe",
        "components/trainer.py:3: models.trainer.run_fn",
    ]
    assert foreign_paths(source, "components/serving_validator/isolation.py") == [
        "components/serving_validator/isolation.py:3: models.trainer.run_fn"
    ]
