"""The PyTorch API of a package as source: functions, modules and operators."""
