"""Tests of svertka."""
