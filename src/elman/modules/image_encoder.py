"""Image encoders: a ResNet over pixels, or a linear layer over precomputed region features."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from elman.errors import SettingError
from elman.modules import RESNETS
from elman.modules.resnet import ResNet, stage_count


class PixelEncoder(nn.Module):
    """ResNet image encoder: uint8 images (B, H, W, 3) -> features of S regions (B, S, M).

    In training images are randomly shifted, scaled, brightened and flipped.

    Args:
        shape: (H, W, 3), the shape of the images.
        name: "small", or a name in `elman.modules.RESNETS`.
        width: channels of the first stage of the small network, doubled at each further stage.
        blocks: residual blocks in each stage of the small network.
        max_shift_share: greatest shift, as a share of the side.
        max_zoom: greatest relative change of scale.
        max_brightness_change: greatest relative change of the brightness of each colour.

    Raises:
        SettingError: the images are too small.
    """

    def __init__(
        self, shape: tuple[int, ...], *, name: str = "small", width: int = 32, blocks: int = 1,
        max_shift_share: float = 0.0, max_zoom: float = 0.0, max_brightness_change: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__()
        if min(shape[:2]) < 16:
            should = "at least 16 pixels in height and width"
            raise SettingError("the images are too small", should=should, found=f"{shape[0]} x {shape[1]}")
        self.max_shift_share, self.max_zoom = max_shift_share, max_zoom
        self.max_brightness_change = max_brightness_change
        if name == "small":
            stages, pool = stage_count(max(shape[:2]))
            self.net = ResNet([blocks] * stages, width=width, kernel=3 if not pool else 5, pool=pool)
        else:
            self.net = ResNet(RESNETS[name])
        self.output_size = self.net.output_size
        halvings = (2 if isinstance(self.net.maxpool, nn.MaxPool2d) else 1) + self.net.stages - 1
        sides = list(shape[:2])
        for _ in range(halvings):
            sides = [-(-side // 2) for side in sides]
        self.grid = (sides[0], sides[1])
        self.regions = sides[0] * sides[1]

    def forward(self, image_BHWC: Tensor, flips_B: Tensor | None = None) -> Tensor:
        """Return the features of the regions, (B, S, M), row by row.

        `flips_B` says which images may be flipped horizontally in training; None stands for none of them.
        """
        if self.training:
            image_BHWC = self.augment(image_BHWC, flips_B)
        map_BMYX: Tensor = self.net(image_BHWC)
        return map_BMYX.flatten(2).transpose(1, 2)

    def augment(self, image_BHWC: Tensor, flips_B: Tensor | None) -> Tensor:
        """Return randomly transformed images, (B, H, W, 3); arguments as in `forward`."""
        B, device = len(image_BHWC), image_BHWC.device
        if not (self.max_shift_share or self.max_zoom or self.max_brightness_change) and flips_B is None:
            return image_BHWC
        draw_B6 = 2 * torch.rand(B, 6, device="cpu").to(device) - 1
        scale_B = 1 + self.max_zoom * draw_B6[:, 0]
        flipped_B = draw_B6[:, 1] < 0 if flips_B is None else (draw_B6[:, 1] < 0) & flips_B
        x_scale_B = torch.where(flipped_B, -scale_B, scale_B) if flips_B is not None else scale_B
        zero_B = torch.zeros_like(scale_B)
        shift = 2 * self.max_shift_share  # the grid goes from -1 to 1, twice the side
        rows = [x_scale_B, zero_B, shift * draw_B6[:, 2], zero_B, scale_B, shift * draw_B6[:, 3]]
        affine_B23 = torch.stack(rows, 1).view(B, 2, 3)
        image_BCHW = image_BHWC.permute(0, 3, 1, 2).float()
        grid_BHW2 = functional.affine_grid(affine_B23, list(image_BCHW.shape), align_corners=False)
        image_BCHW = functional.grid_sample(image_BCHW, grid_BHW2, padding_mode="reflection", align_corners=False)
        gain_B3 = 1 + self.max_brightness_change * (0.7 * draw_B6[:, 4:5] + 0.3 * (2 * torch.rand(B, 3).to(device) - 1))
        return (image_BCHW * gain_B3[:, :, None, None]).permute(0, 2, 3, 1)


class RegionEncoder(nn.Module):
    """Linear encoder of precomputed region features: standardised (B, S, F) -> (B, S, M).

    Args:
        shape: (S, F), the shape of an image's features.
        features: M, size of the encoded features.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, shape: tuple[int, ...], features: int) -> None:
        super().__init__()
        self.regions, self.output_size = shape[0], features
        side = round(shape[0] ** 0.5)
        self.grid = (side, side) if side * side == shape[0] else (1, shape[0])
        self.register_buffer("mean", torch.zeros(shape[1]))
        self.register_buffer("deviation", torch.ones(shape[1]))
        self.linear = nn.Linear(shape[1], features)

    def forward(self, features_BSF: Tensor, flips_B: Tensor | None = None) -> Tensor:
        """Return the encoded features, (B, S, M); `flips_B` has no effect."""
        encoded_BSM: Tensor = functional.relu(self.linear((features_BSF - self.mean) / self.deviation))
        return encoded_BSM

    def fit_normalisation(self, features_NSF: Tensor) -> None:
        """Set the mean and standard deviation of each feature to those of these, (N, S, F)."""
        flat_XF = features_NSF.flatten(0, 1).double()
        self.mean.copy_(flat_XF.mean(0))
        self.deviation.copy_(flat_XF.std(0, correction=0).clamp(min=1e-4))


def build_image_encoder(shape: tuple[int, ...], features: int, **options: Any) -> PixelEncoder | RegionEncoder:
    """Build the encoder of images of a shape.

    Args:
        shape: (H, W, 3), or (S, F) of precomputed features.
        features: size of encoded features.
        options: of `PixelEncoder`; precomputed features have none.
    """
    return RegionEncoder(shape, features) if len(shape) == 2 else PixelEncoder(shape, **options)
