"""Compiled kernels, with or without a GPU: figures, times, the search for tiles."""
