"""Benchmarks of generated functions against PyTorch and against the machine's limits; workloads are data."""
