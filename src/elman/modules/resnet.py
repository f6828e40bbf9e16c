"""A residual network that turns a picture into a map of features, with the names and forms of torchvision's.

(He et al. 2016, https://arxiv.org/abs/1512.03385.) With `width` 64 and the blocks of `RESNETS` it takes the weights of
torchvision's or timm's resnet18 and resnet34 as they are; smaller ones are trained along with what reads them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

RESNETS = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3)}
"""Blocks of each stage."""

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of red, green and blue in ImageNet, 1 for white; torchvision's weights expect them."""


class Convolution(nn.Conv2d):
    """A convolution without bias whose weight, like its input, has the channels last in memory while it works."""

    def __init__(self, before: int, after: int, kernel: int, stride: int = 1) -> None:
        super().__init__(before, after, kernel, stride=stride, padding=kernel // 2, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        """Return the same numbers as without, in two thirds of the time."""
        found: Tensor = self._conv_forward(input, self.weight.contiguous(memory_format=torch.channels_last), None)
        return found


class Block(nn.Module):
    """y = relu(x + conv(relu(conv(x)))), each convolution 3 x 3 with batch normalisation."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = Convolution(before, after, 3, stride)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = Convolution(after, after, 3)
        self.bn2 = nn.BatchNorm2d(after)
        self.downsample = None
        if stride != 1 or before != after:
            shortcut = Convolution(before, after, 1, stride)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(after))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return (B, C', H', W')."""
        inner = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x_BCHW)), inplace=True)))
        straight = x_BCHW if self.downsample is None else self.downsample(x_BCHW)
        return functional.relu(inner + straight, inplace=True)


class ResidualNet(nn.Module):
    """Pictures (B, H, W, 3), 0 to 255, to maps (B, C, H', W').

    Args:
        blocks: of each stage; each stage after the first halves the map and has twice the channels.
        width: channels of the first stage.
        kernel: of the first convolution, which halves the picture.
        pool: whether a pooling that halves it again follows.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, blocks: Sequence[int], *, width: int = 64, kernel: int = 7, pool: bool = True) -> None:
        super().__init__()
        self.register_buffer("mean", 255 * torch.tensor(MEAN), persistent=False)
        self.register_buffer("deviation", 255 * torch.tensor(DEVIATION), persistent=False)
        self.conv1 = Convolution(3, width, kernel, 2)
        self.bn1 = nn.BatchNorm2d(width)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1) if pool else nn.Identity()
        before, self.stages = width, len(blocks)
        for stage, count in enumerate(blocks):
            after = width << stage
            built = [Block(before if b == 0 else after, after, 2 if stage and b == 0 else 1) for b in range(count)]
            self.add_module(f"layer{stage + 1}", nn.Sequential(*built))
            before = after
        self.output_size = before
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and not module.weight.is_meta:
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, picture_BHWC: Tensor) -> Tensor:
        """Return (B, C, H', W')."""
        scaled = (picture_BHWC.to(self.mean.dtype) - self.mean) / self.deviation
        x_BCHW: Tensor = scaled.permute(0, 3, 1, 2)  # in memory the channels stay last, which is the faster order
        x_BCHW = self.maxpool(functional.relu(self.bn1(self.conv1(x_BCHW)), inplace=True))
        for stage in range(self.stages):
            x_BCHW = getattr(self, f"layer{stage + 1}")(x_BCHW)
        return x_BCHW


def weight_shapes(name: str) -> dict[str, torch.Size]:
    """Return the shapes of the weights of one of `RESNETS`, by their names in torchvision.

    The counts of batches that batch normalisation keeps are left out: torchvision's own files lack them, and no result
    depends on them.
    """
    with torch.device("meta"):
        state = ResidualNet(RESNETS[name]).state_dict()
    return {key: tensor.shape for key, tensor in state.items() if not key.endswith("num_batches_tracked")}


def stages_for(side: int, most: int = 4) -> tuple[int, bool]:
    """Return how many stages bring a picture to a map of about 4 to 7 in height, and whether it is pooled before."""
    pool = side > 64
    size, stages = -(-side // (4 if pool else 2)), 1
    while size > 7 and stages < most:
        size, stages = -(-size // 2), stages + 1
    return stages, pool
