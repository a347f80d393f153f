"""What may be said: formulas of a user's file, supported functions, names."""
