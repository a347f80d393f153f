"""The machine for PTX: operations against NumPy, refusals by planted faults, kernels against formulas."""
