"""A machine that executes compiled kernels without a GPU: PTX for sm_80 and sm_90 on NumPy."""
