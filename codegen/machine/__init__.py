"""Compiled kernels, with or without a GPU: figures, times, tile search."""
