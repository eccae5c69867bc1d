"""Simulated short-video logs with known ground truth, to try the pipeline on."""
