"""Kernels: one layer in one direction over a sequence, on each kind of device."""
