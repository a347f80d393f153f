"""Packages: generated, judged, written, certified, kept."""
