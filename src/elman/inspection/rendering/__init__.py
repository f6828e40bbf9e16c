"""Renderers of a report: terminal, charts, HTML."""
