"""Tests of `svertka.reference`: against PyTorch, the lecture, and published answers."""
