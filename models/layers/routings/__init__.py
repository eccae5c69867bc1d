"""The routings, a file each: which parameters a task shares with the others."""
