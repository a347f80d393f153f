"""KernelBench's problems by formulas: how many kernels they become, what is proven of these, how far from torch."""
