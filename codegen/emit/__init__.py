"""Kernels and programs to Python source: printers, templates, tables of tiles."""
