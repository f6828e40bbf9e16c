"""ResNet: torch's own layers by the equations, and the names and sizes of torchvision."""

import pytest
import torch
from torch.nn import functional

from elman.modules import RESNETS
from elman.modules.resnet import DEVIATION, MEAN, BasicBlock, ResNet, stage_count, weight_shapes


def test_names_and_sizes_of_torchvision() -> None:
    """What torchvision's resnet18 and resnet34 hold, without their classifier, by the numbers that it publishes."""
    with torch.device("meta"):
        nets = {name: ResNet(blocks) for name, blocks in RESNETS.items()}
    counts = {name: sum(p.numel() for p in net.parameters()) for name, net in nets.items()}
    assert counts == {"resnet18": 11_689_512 - 513_000, "resnet34": 21_797_672 - 513_000}
    state = nets["resnet18"].state_dict()
    assert len(state) == 122 - 2
    assert len(weight_shapes("resnet18")) == 122 - 2 - 20  # without num_batches_tracked
    assert state["conv1.weight"].shape == (64, 3, 7, 7)
    assert state["layer2.0.downsample.0.weight"].shape == (128, 64, 1, 1)
    assert state["layer4.1.bn2.running_var"].shape == (512,)


@pytest.mark.parametrize(("channels", "stride"), [((4, 4), 1), ((4, 8), 2)])
def test_a_block_by_its_equation(channels: tuple[int, int], stride: int) -> None:
    torch.manual_seed(1)
    block = BasicBlock(*channels, stride).double().train()
    x_BCHW = torch.randn(2, 4, 6, 6).double()

    def normalised(y_BCHW: torch.Tensor) -> torch.Tensor:  # a new batch normalisation: weight 1 and bias 0
        dims, moments = (0, 2, 3), {"keepdim": True}
        variance = y_BCHW.var(dims, correction=0, **moments)
        return (y_BCHW - y_BCHW.mean(dims, **moments)) / (variance + 1e-5).sqrt()

    inner = normalised(functional.conv2d(x_BCHW, block.conv1.weight, stride=stride, padding=1)).relu()
    residual = normalised(functional.conv2d(inner, block.conv2.weight, padding=1))
    shortcut = x_BCHW
    if block.downsample is not None:
        shortcut = normalised(functional.conv2d(x_BCHW, block.downsample[0].weight, stride=stride))
    torch.testing.assert_close(block(x_BCHW.clone()), (shortcut + residual).relu())


def test_pixels_are_standardised_as_torchvision_does() -> None:
    inputs: list[torch.Tensor] = []
    net = ResNet((1,), width=4, kernel=3, pool=False).eval()
    net.conv1.register_forward_pre_hook(lambda module, arguments: inputs.append(arguments[0]))
    image_BHWC = torch.randint(0, 256, (2, 6, 8, 3), dtype=torch.uint8)
    assert net(image_BHWC).shape == (2, 4, 3, 4)
    for c in range(3):
        torch.testing.assert_close(inputs[0][:, c], (image_BHWC[..., c] / 255 - MEAN[c]) / DEVIATION[c])


@pytest.mark.parametrize("side", [16, 24, 48, 64, 65, 128, 224, 300])
def test_stages_and_pooling_give_a_small_map(side: int) -> None:
    stages, pool = stage_count(side)
    net = ResNet([1] * stages, width=2, pool=pool).eval()
    height = net(torch.zeros(1, side, side, 3)).shape[2]
    assert 2 <= height <= 10
    assert stage_count(128) == (4, True)
