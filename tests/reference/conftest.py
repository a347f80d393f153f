"""Settings of the tests of the reference."""

import torch

# The shapes are small: threads would only wait for each other.
torch.set_num_threads(1)
