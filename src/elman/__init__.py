"""Recurrent neural networks on PyTorch: train, explain, and run for ever on a stream."""

__version__ = "0.1.0"
