from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("table", sorted((DOCS / "results").glob("*.md")), ids=lambda path: path.stem)
def test_the_results_page_has_each_table_as_the_benchmark_wrote_it(table):
    assert table.read_text().strip() in (DOCS / "results.md").read_text()
