"""Metrics, baselines and evaluation procedures."""
