"""Equations to equations, one pass a file."""
