"""Metrics of multi-task ranking for TFMA, where it has none: name the module in a `MetricConfig`."""
