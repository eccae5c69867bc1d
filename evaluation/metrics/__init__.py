"""The metrics on whole columns, and their intervals by user."""
