"""Mutation gate: faults seeded in every stage between formula and kernel, and the levels that detect them."""
