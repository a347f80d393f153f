"""Generated kernels against their formula, at every level."""
