"""The command `fulcrum`, a file a group of commands."""
