"""Measurements of a recorded layer."""
