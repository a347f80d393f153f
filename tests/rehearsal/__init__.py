"""Tests of the device command with a stub of the driver; a package, so that workers can import its faulty items."""
