"""What the commands share of the terminal: where they print, and how they say that something can't be done."""

import sys

import typer
from rich.console import Console

# A pipe or a file has no width of its own; tables must not be cut to 80 columns there.
console = Console(width=None if sys.stdout.isatty() else 150)
errors = Console(stderr=True)


def fail(message: object, code: int) -> typer.Exit:
    """Prints the error, and returns what to raise to end the command with `code`."""
    Console(stderr=True).print(f"error: {message}", style="red", markup=False, highlight=False, soft_wrap=True)
    return typer.Exit(code)
