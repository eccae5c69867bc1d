"""The pipeline: its DAG, its runners, the command, and the logs to try it on."""
