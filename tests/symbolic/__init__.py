"""Tests of symbolic execution; a package, so that they can share helpers."""
