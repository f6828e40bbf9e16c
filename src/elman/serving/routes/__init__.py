"""The protocols: sessions, completions, predictions, sound, operations."""
