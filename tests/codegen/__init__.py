"""Tests of the code generator; a package, so that they can share helpers."""
