"""A long command says how fast it is, step by step."""

import io

import pytest
from rich.console import Console

from pipeline.cli.rates import rates


@pytest.fixture
def screen():
    return Console(file=io.StringIO(), force_terminal=True, width=120)


def test_each_step_shows_its_share_and_what_a_second_it_has_done_since_its_own_start(screen):
    seconds = iter([10.0, 12.0, 20.0, 24.0])
    with rates(screen, {"read": "rows", "write": "values"}, lambda: next(seconds)) as show:
        show("read", 0, 100, 0)
        show("read", 100, 100, 3_000)
        show("write", 0, 4, 0)
        show("write", 1, 4, 10_000)
    lines = screen.file.getvalue().replace("\r", "\n").split("\n")
    assert any("read" in line and "100%" in line and "1,500 rows/s" in line for line in lines)
    assert any("write" in line and "25%" in line and "2,500 values/s" in line for line in lines)


def test_of_many_calls_at_once_few_are_shown_and_the_last_one_is(screen):
    now = [0.0]
    with rates(screen, {"read": "rows"}, lambda: now[0]) as show:
        show("read", 0, 10, 0)
        for count in range(1, 10):
            now[0] += 0.001
            show("read", count, 10, count)
        now[0] = 0.05
        show("read", 10, 10, 10)
    text = screen.file.getvalue()
    assert "200 rows/s" in text
    assert "1,000 rows/s" not in text
