"""Makes one HTML file of a page: styles, scripts, charting library and data inline, so that it opens anywhere."""

import base64
import hashlib
from collections.abc import Iterator
from functools import cache
from importlib import resources
from typing import Any

import altair
import jinja2
import vl_convert
from markupsafe import Markup

from report.elements import Beside, Block, Chart, Figure, Group, Page


def render(page: Page) -> str:
    """Returns the page as HTML. What the data says stays text: in the markup, in the charts and in what they read.

    Raises:
      ValueError: a chart has a number that JSON does not have (NaN, infinity).
    """
    charts: list[Chart] = []
    numbers = {id(figure): _numbered(figure, charts) for figure in _figures(page)}
    scripts = [_library(), _source("page.js")]
    return (
        _environment()
        .get_template("page.html.jinja")
        .render(
            page=page,
            charts=charts,
            chart_numbers=lambda figure: numbers[id(figure)],
            scripts=[Markup(script) for script in scripts],
            style=Markup(_source("page.css")),
            script_hashes=[_hash(script) for script in scripts],
        )
    )


def _figures(page: Page) -> Iterator[Figure]:
    def of(blocks: Any) -> Iterator[Figure]:
        for block in blocks:
            if isinstance(block, Figure):
                yield block
            elif isinstance(block, Beside | Group):
                yield from of(block.blocks)

    for section in page.sections:
        yield from of(section.blocks)


def _numbered(figure: Figure, charts: list[Chart]) -> dict[str, int]:
    """Adds the figure's charts to those of the page; the place of each by its name."""
    first = len(charts)
    # A screen reader says the description.
    charts.extend({**chart, "description": figure.caption} for chart in figure.charts.values())
    return {name: first + index for index, name in enumerate(figure.charts)}


def kind(block: Block) -> str:
    """Returns the macro of the template that draws the block."""
    return "paragraph" if isinstance(block, str) else type(block).__name__.lower()


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__name__, "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    environment.globals["kind"] = kind
    environment.tests["numeric"] = lambda column, table: column in table.numeric
    return environment


@cache
def _library() -> str:
    """Returns Vega, Vega-Lite and Vega-Embed in one script, of the version whose charts Altair makes."""
    version = altair.SCHEMA_VERSION.removeprefix("v").rpartition(".")[0]
    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", version)


@cache
def _source(name: str) -> str:
    return resources.files(__name__).joinpath(name).read_text(encoding="utf-8")


def _hash(script: str) -> str:
    """Returns how a Content-Security-Policy names an inline script that may run; no other will."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
