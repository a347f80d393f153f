"""Tests of the code generator; a package, so that they share what they need."""
