"""The accepted input: formulas of a user's file, supported functions, names."""
