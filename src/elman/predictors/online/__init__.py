"""Trained models that answer step by step, many sessions at once: the state of a session is a value."""
