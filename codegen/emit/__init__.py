"""Kernels and programs as Python source: printers, templates, tables of tile sizes."""
