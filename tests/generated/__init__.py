"""Tests of the public face: functions, modules, operators."""
