"""Packages: generate, validate, write, certify, cache."""
