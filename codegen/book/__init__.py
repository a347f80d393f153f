"""The book: a definition's formula, gradient, kernels and proofs, explained in the terminal and as static pages."""
