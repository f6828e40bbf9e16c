"""What lets the builds of packages that the index has for CUDA alone be imported beside a torch without CUDA.

Their compiled libraries stop the import there. The programs use the Python code of these packages and nothing of the
libraries, so each is imported as where its library was not built.
"""

from __future__ import annotations

import sys
import types

import torch


def torchaudio_without_library() -> None:
    """Let torchaudio be imported without its compiled library."""
    if torch.version.cuda is None:
        stub = types.ModuleType("torchaudio._extension")
        names = {"_IS_TORCHAUDIO_EXT_AVAILABLE": False, "_IS_ALIGN_AVAILABLE": False}
        vars(stub).update(names, fail_if_no_align=lambda function: function)
        sys.modules[stub.__name__] = stub


def torchvision_without_library() -> None:
    """Let torchvision be imported without the operators of its compiled library."""
    if torch.version.cuda is None:
        stub = types.ModuleType("torchvision._meta_registrations")
        sys.modules[stub.__name__] = stub
