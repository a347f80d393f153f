"""Equations to kernels: which equations share one, and what each computes."""
