"""Tests of symbolic execution; a package, so that they share what they need."""
