"""Rolling windows of daily logs: the days that are read, and what days carry on to later ones."""
