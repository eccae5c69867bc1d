"""Served requests, made once more of the logs that came later: what differs, and why."""
