"""Formulas to Triton kernels: derive, lower, print, validate, write."""
