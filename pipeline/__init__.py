"""The pipeline: its DAG, its runners, and the command."""
