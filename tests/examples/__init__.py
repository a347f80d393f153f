"""The examples: files of formulas as users write them."""
