"""Kernels as data, and what is found out about equations and kernels: patterns of loops, coalescing."""
