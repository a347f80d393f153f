"""The machine for PTX: every operation against NumPy, every refusal by a planted fault, kernels against their formulas."""
