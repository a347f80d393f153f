"""Kernels as data, and what is read off equations and kernels: patterns of loops, coalescing."""
