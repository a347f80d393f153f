"""Tests of the device command, against a stub of the driver; a package, so that workers can import its faults."""
