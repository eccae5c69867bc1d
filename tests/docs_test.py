"""What the docs point to exists: the targets of links, and files and modules named in backticks."""

import ast
import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
PAGES = sorted([PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *(PROJECT / "docs").glob("*.md")])
FOLDERS = {path.name for path in PROJECT.iterdir() if path.is_dir() and not path.name.startswith(".")}
PACKAGES = {name for name in FOLDERS if (PROJECT / name / "__init__.py").exists()}

FILE = re.compile(r"\.(json|yaml|html|ipynb|py|sqlite|svg)$")

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def links(page: Path) -> list[str]:
    targets = re.findall(r"\]\(([^)\s]+)\)", page.read_text())
    return [target for target in targets if not re.match(r"[a-z]+:", target)]


def code_spans(page: Path) -> list[str]:
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"`([^`\n]+)`", text)


def anchors(page: Path) -> set[str]:
    """Returns what a link may point to in a page: its headings as GitHub writes them, and explicit ids."""
    text = page.read_text()
    headings = [heading.lower() for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)]
    slugs = {re.sub(r"[^\w -]", "", heading).replace(" ", "-") for heading in headings}
    return slugs | set(re.findall(r'<a id="([^"]+)">', text))


def defined_names(module: Path) -> set[str]:
    """Returns the names that a module's top level binds, without importing it."""
    names = set()
    for node in ast.parse(module.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names.update(alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            names.update(name.id for name in ast.walk(node) if isinstance(name, ast.Name))
    return names


def resolves(dotted: str) -> bool:
    """Returns whether `package.module` is one, or `package.module.name` is bound in it."""
    names = dotted.split(".")
    path = PROJECT
    for depth, name in enumerate(names, 1):
        path = path / name
        module = path.with_suffix(".py") if path.with_suffix(".py").exists() else path / "__init__.py"
        if not module.exists():
            return False
        if depth < len(names) and names[depth] in defined_names(module):
            return True
    return True


@pages
def test_the_targets_of_links_exist(page):
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), f"{page.name}: {link}: no such file"
        assert not anchor or anchor in anchors(target), f"{page.name}: {link}: {target.name} has no such heading"


@pages
def test_files_and_modules_that_are_named_exist(page):
    for span in code_spans(page):
        if span.startswith("python -m "):
            span = span.removeprefix("python -m ").split()[0]
        if re.fullmatch(r"\w+(\.\w+)+", span) and span.split(".")[0] in PACKAGES and not FILE.search(span):
            assert resolves(span), f"{page.name}: `{span}`: no such module, or no such name in it"
        # `serving/<spec name>` and `rejected-*.jsonl` are of a run, not of the repository.
        if re.fullmatch(r"[\w./-]+", span) and "/" in span and span.split("/")[0] in FOLDERS:
            assert (PROJECT / span).exists(), f"{page.name}: `{span}`: no such file or folder"


def test_a_name_that_is_not_there_does_not_resolve():
    assert resolves("ingest.timeline")
    assert resolves("ingest.timeline.join")
    assert not resolves("ingest.timeline.joined")
    assert not resolves("ingest.timelines")
