"""TFX's Transform, which analyses the days of a rolling window one by one and keeps each day's analysis."""
