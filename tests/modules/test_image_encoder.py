"""Image encoders: the shape of the map, augmentation in training only, and standardised region features."""

import pytest
import torch

from elman.errors import SettingError
from elman.modules.image_encoder import PixelEncoder, RegionEncoder


def images(count: int) -> torch.Tensor:
    return torch.randint(0, 256, (count, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))


def test_augmentation() -> None:
    torch.manual_seed(0)
    encoder, image_BHWC = (
        PixelEncoder((32, 48, 3), width=4, max_shift_share=0.1, max_zoom=0.1, max_brightness_change=0.1),
        images(6),
    )
    image_BHWC = torch.cat([image_BHWC, image_BHWC[:, :, :16]], 2)
    assert not torch.equal(encoder.augment(image_BHWC, None), image_BHWC.float())
    plain = PixelEncoder((32, 48, 3), width=4)
    assert plain.augment(image_BHWC, None) is image_BHWC
    flipped = plain.augment(image_BHWC, torch.tensor([True] * 4 + [False] * 2))
    torch.testing.assert_close(flipped[4:], image_BHWC[4:].float(), atol=0.01, rtol=0)
    mirrored = [torch.allclose(flipped[b], image_BHWC[b].flip(1).float(), atol=0.01) for b in range(4)]
    straight = [torch.allclose(flipped[b], image_BHWC[b].float(), atol=0.01) for b in range(4)]
    assert all(m != s for m, s in zip(mirrored, straight, strict=True)) and any(mirrored) and any(straight)
    plain.eval()
    assert plain(image_BHWC).shape == (6, plain.regions, plain.output_size)
    assert plain.grid == (4, 6)


@pytest.mark.parametrize("side", [16, 24, 48, 64, 65, 128, 224, 300])
def test_regions_are_those_of_the_map(side: int) -> None:
    encoder = PixelEncoder((side, side, 3), width=4).eval()
    assert encoder(torch.zeros(1, side, side, 3)).shape[1] == encoder.regions == encoder.grid[0] * encoder.grid[1]


def test_small_images_are_refused() -> None:
    with pytest.raises(SettingError, match="at least 16 pixels"):
        PixelEncoder((16, 8, 3))


def test_region_features_are_standardised() -> None:
    torch.manual_seed(0)
    encoder = RegionEncoder((9, 5), 8)
    assert (encoder.regions, encoder.output_size, encoder.grid) == (9, 8, (3, 3))
    assert RegionEncoder((7, 5), 8).grid == (1, 7)
    features = torch.randn(2, 9, 5)
    torch.testing.assert_close(encoder(features)[:, 3:4], encoder(features[:, 3:4]))
    before = encoder(features)
    encoder.fit_normalisation(7 * features + 3)
    encoder.linear.weight.data *= features.flatten(0, 1).std(0, correction=0)
    encoder.linear.bias.data += (encoder.linear.weight / features.flatten(0, 1).std(0, correction=0)) @ features.mean(
        (0, 1)
    )
    torch.testing.assert_close(encoder(7 * features + 3), before)


def test_a_shift_moves_the_image_by_its_share() -> None:
    torch.manual_seed(3)
    encoder = PixelEncoder((32, 32, 3), width=4, max_shift_share=0.25)
    ramp_BHWC = torch.arange(32.0)[None, None, :, None].expand(50, 32, 32, 3)  # brightness is the column
    moved_B = (encoder.augment(ramp_BHWC, None) - ramp_BHWC)[:, 16, 12:20].mean((1, 2))
    assert moved_B.abs().max() <= 8 + 1e-3 and moved_B.min() < -5 and moved_B.max() > 5


def test_evaluation_does_not_augment() -> None:
    encoder = PixelEncoder((32, 32, 3), width=4, max_zoom=0.3).eval()
    before = torch.get_rng_state()
    torch.testing.assert_close(encoder(images(2), torch.ones(2, dtype=torch.bool)), encoder(images(2)))
    assert torch.equal(torch.get_rng_state(), before)
