"""Recurrent reinforcement learning: policies for sb3-contrib (`sb3`), modules for TorchRL (`torchrl`)."""
