"""Passes from equations to equations, one in each file."""
