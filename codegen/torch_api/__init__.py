"""What PyTorch sees: functions, modules and operators of a package, as source."""
