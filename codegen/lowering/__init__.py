"""From equations to kernels: which equations share a kernel, and what each kernel computes."""
