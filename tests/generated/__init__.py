"""Tests of the public interface: functions, modules, operators."""
