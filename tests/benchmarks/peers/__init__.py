"""Kernels of other libraries for the same calls, counted as ours are."""
