"""Exporters: a layer, a model or a run in the form of another runtime, with a report of its parity with ours."""
