"""A CUDA driver and PyTorch's part of it, for a rehearsal without a GPU: kernels are launched and compute nothing."""
