"""Settings of the tests of the reference."""

import torch

# The shapes are small: several threads would be slower.
torch.set_num_threads(1)
