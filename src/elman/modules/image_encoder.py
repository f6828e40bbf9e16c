"""From a picture to places with features: a residual network over pixels, or a layer over what was computed before."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from elman.errors import SettingError
from elman.modules.resnet import RESNETS, ResidualNet, stages_for


class PixelEncoder(nn.Module):
    """Pictures (B, H, W, 3) uint8 to (B, S, M) by a residual network that is trained along.

    In training each picture is moved, scaled and brightened a little, and half of those that may be are mirrored.

    Args:
        shape: (H, W, 3) of the pictures.
        name: "small", or a name in `elman.modules.resnet.RESNETS`.
        width: of the small one: channels of its first stage, doubled at each further one.
        blocks: of the small one: in each stage.
        shift: greatest share of the side that a picture is moved by in training.
        zoom: greatest share that it is enlarged or made smaller by.
        light: greatest share by which the brightness of each colour changes.

    Raises:
        SettingError: the pictures are too small.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        name: str = "small",
        width: int = 32,
        blocks: int = 1,
        shift: float = 0.0,
        zoom: float = 0.0,
        light: float = 0.0,
    ) -> None:
        super().__init__()
        if min(shape[:2]) < 16:
            raise SettingError(
                "the pictures are too small",
                should="at least 16 pixels in height and width",
                found=f"{shape[0]} x {shape[1]}",
            )
        self.shift, self.zoom, self.light = shift, zoom, light
        if name == "small":
            stages, pool = stages_for(max(shape[:2]))
            self.net = ResidualNet([blocks] * stages, width=width, kernel=3 if not pool else 5, pool=pool)
        else:
            self.net = ResidualNet(RESNETS[name])
        self.output_size = self.net.output_size
        halvings = (2 if isinstance(self.net.maxpool, nn.MaxPool2d) else 1) + self.net.stages - 1
        sides = list(shape[:2])
        for _ in range(halvings):
            sides = [-(-side // 2) for side in sides]
        self.grid = (sides[0], sides[1])
        self.places = sides[0] * sides[1]

    def forward(self, picture_BHWC: Tensor, turns_B: Tensor | None = None) -> Tensor:
        """Return (B, S, M), the places row by row."""
        if self.training:
            picture_BHWC = self.varied(picture_BHWC, turns_B)
        map_BMYX: Tensor = self.net(picture_BHWC)
        return map_BMYX.flatten(2).transpose(1, 2)

    def varied(self, picture_BHWC: Tensor, turns_B: Tensor | None) -> Tensor:
        """Return the pictures as they could have been taken too; torch's random state is drawn from."""
        B, device = len(picture_BHWC), picture_BHWC.device
        if not (self.shift or self.zoom or self.light) and turns_B is None:
            return picture_BHWC
        draw_B6 = 2 * torch.rand(B, 6, device="cpu").to(device) - 1
        scale_B = 1 + self.zoom * draw_B6[:, 0]
        turned_B = draw_B6[:, 1] < 0 if turns_B is None else (draw_B6[:, 1] < 0) & turns_B
        across_B = torch.where(turned_B, -scale_B, scale_B) if turns_B is not None else scale_B
        zero_B = torch.zeros_like(scale_B)
        # The grid reaches from -1 to 1, twice the side.
        rows = [across_B, zero_B, 2 * self.shift * draw_B6[:, 2], zero_B, scale_B, 2 * self.shift * draw_B6[:, 3]]
        affine_B23 = torch.stack(rows, 1).view(B, 2, 3)
        moved_BCHW = picture_BHWC.permute(0, 3, 1, 2).float()
        grid_BHW2 = functional.affine_grid(affine_B23, list(moved_BCHW.shape), align_corners=False)
        moved_BCHW = functional.grid_sample(moved_BCHW, grid_BHW2, padding_mode="reflection", align_corners=False)
        gain_B3 = 1 + self.light * (0.7 * draw_B6[:, 4:5] + 0.3 * (2 * torch.rand(B, 3).to(device) - 1))
        return (moved_BCHW * gain_B3[:, :, None, None]).permute(0, 2, 3, 1)


class RegionEncoder(nn.Module):
    """Features (B, S, F), less their mean, by their deviation, to (B, S, M), each place for itself.

    Args:
        shape: (S, F).
        features: M.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, shape: tuple[int, ...], features: int) -> None:
        super().__init__()
        self.places, self.output_size = shape[0], features
        side = round(shape[0] ** 0.5)
        self.grid = (side, side) if side * side == shape[0] else (1, shape[0])
        self.register_buffer("mean", torch.zeros(shape[1]))
        self.register_buffer("deviation", torch.ones(shape[1]))
        self.linear = nn.Linear(shape[1], features)

    def forward(self, features_BSF: Tensor, turns_B: Tensor | None = None) -> Tensor:
        """Return (B, S, M)."""
        seen_BSM: Tensor = functional.relu(self.linear((features_BSF - self.mean) / self.deviation))
        return seen_BSM

    def measure(self, features_NSF: Tensor) -> None:
        """Take mean and deviation of each feature from these, (N, S, F)."""
        flat_XF = features_NSF.flatten(0, 1).double()
        self.mean.copy_(flat_XF.mean(0))
        self.deviation.copy_(flat_XF.std(0, correction=0).clamp(min=1e-4))
