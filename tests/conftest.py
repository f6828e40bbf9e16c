"""What every test runs under, and commands that run in this process."""

from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from hypothesis import settings

# The same examples in every run, so that a red run can be repeated.
settings.register_profile("elman", derandomize=True, deadline=None, max_examples=40)
settings.load_profile("elman")

# Tensors in tests are tiny: a second thread would only wait for the first. Tests about threads set their own number.
torch.set_num_threads(1)


class Answer(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def elman(capfd: pytest.CaptureFixture) -> Callable[..., Answer]:
    from elman import cli

    def call(*arguments: object) -> Answer:
        capfd.readouterr()
        code = cli.run([str(argument) for argument in arguments])
        return Answer(code, *capfd.readouterr())

    return call
