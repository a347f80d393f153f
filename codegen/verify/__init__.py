"""Translation validation: generated kernels against their formula, at every level."""
