"""ResNet (He et al. 2016, https://arxiv.org/abs/1512.03385) with the parameter names of torchvision.

With `width` 64 and the blocks of `RESNETS` it loads torchvision's or timm's weights of resnet18 and resnet34.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from elman.modules import RESNETS

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and standard deviation of red, green and blue in ImageNet, 0 to 1, which torchvision's weights expect."""


class Convolution(nn.Conv2d):
    """Convolution without bias in the channels-last memory format."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> None:
        super().__init__(in_channels, out_channels, kernel, stride=stride, padding=kernel // 2, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        """Return the convolution, (B, C', H', W'); channels-last weights take two thirds of the time."""
        output: Tensor = self._conv_forward(input, self.weight.contiguous(memory_format=torch.channels_last), None)
        return output


class BasicBlock(nn.Module):
    """Basic residual block: y = relu(x + conv(relu(conv(x)))), 3 x 3 convolutions with batch normalisation."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = Convolution(in_channels, out_channels, 3, stride)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = Convolution(out_channels, out_channels, 3)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.downsample = None
        if stride != 1 or in_channels != out_channels:
            shortcut = Convolution(in_channels, out_channels, 1, stride)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(out_channels))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the feature map, (B, C', H', W')."""
        residual = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x_BCHW)), inplace=True)))
        shortcut = x_BCHW if self.downsample is None else self.downsample(x_BCHW)
        return functional.relu(residual + shortcut, inplace=True)


class ResNet(nn.Module):
    """ResNet: images (B, H, W, 3), 0 to 255 -> feature maps (B, C, H', W').

    Args:
        blocks: blocks of each stage; each stage after the first halves the map and doubles the channels.
        width: channels of the first stage.
        kernel: kernel size of the first convolution, which halves the image.
        pool: whether max pooling halves it again.
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
        in_channels, self.stages = width, len(blocks)
        for stage, count in enumerate(blocks):
            channels = width << stage
            first = BasicBlock(in_channels, channels, 2 if stage else 1)
            others = [BasicBlock(channels, channels, 1) for _ in range(count - 1)]
            self.add_module(f"layer{stage + 1}", nn.Sequential(first, *others))
            in_channels = channels
        self.output_size = in_channels
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and not module.weight.is_meta:
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, image_BHWC: Tensor) -> Tensor:
        """Return the feature maps, (B, C, H', W')."""
        scaled = (image_BHWC.to(self.mean.dtype) - self.mean) / self.deviation
        x_BCHW: Tensor = scaled.permute(0, 3, 1, 2)  # channels last in memory, which is faster
        x_BCHW = self.maxpool(functional.relu(self.bn1(self.conv1(x_BCHW)), inplace=True))
        for stage in range(self.stages):
            x_BCHW = getattr(self, f"layer{stage + 1}")(x_BCHW)
        return x_BCHW


def weight_shapes(name: str) -> dict[str, torch.Size]:
    """Return the shapes of the weights of one of `RESNETS`, by their names in torchvision.

    Without `num_batches_tracked` of batch normalisation, which torchvision's files lack and no result depends on.
    """
    with torch.device("meta"):
        state = ResNet(RESNETS[name]).state_dict()
    return {key: tensor.shape for key, tensor in state.items() if not key.endswith("num_batches_tracked")}


def stage_count(side: int, max_stages: int = 4) -> tuple[int, bool]:
    """Return the number of stages that map an image of this side to one of about 4 to 7, and whether to pool before."""
    pool = side > 64
    size, stages = -(-side // (4 if pool else 2)), 1
    while size > 7 and stages < max_stages:
        size, stages = -(-size // 2), stages + 1
    return stages, pool
