"""What every test runs under."""

import torch
from hypothesis import settings

# The same examples in every run, so that a red run can be repeated.
settings.register_profile("elman", derandomize=True, deadline=None, max_examples=40)
settings.load_profile("elman")

# Tensors in tests are tiny: a second thread would only wait for the first. Tests about threads set their own number.
torch.set_num_threads(1)
