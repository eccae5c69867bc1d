"""`python -m pipeline.cli` is the command `fulcrum`."""

from pipeline.cli.main import main

main()
