"""Hypothesis draws the same examples in every run, so that a red run can be repeated."""

from hypothesis import settings

settings.register_profile("elman", derandomize=True, deadline=None, max_examples=40)
settings.load_profile("elman")
