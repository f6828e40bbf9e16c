"""Baselines that need no network."""
