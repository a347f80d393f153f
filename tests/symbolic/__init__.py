"""Tests of symbolic execution; a package, so that they share their helpers."""
