"""The captioner and the network that sees for it."""

import pytest
import torch

from elman.errors import SettingError
from elman.models.captioner import Captioner
from elman.modules.image_encoder import PixelEncoder, RegionEncoder
from elman.modules.resnet import RESNETS, ResidualNet, stages_for

V = 7


def made(attention: str = "multiplicative", **options: object) -> Captioner:
    torch.manual_seed(1)
    seeing = PixelEncoder((32, 32, 3), width=4)
    model = Captioner(seeing, V, embedding=6, hidden=8, attention=attention, **options)
    with torch.no_grad():
        model.place.normal_()
    return model.eval()


def pictures(count: int) -> torch.Tensor:
    return torch.randint(0, 256, (count, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))


WAYS = [("multiplicative", "lstm", 1), ("additive", "gru", 2), ("none", "lstm", 1), ("none", "rnn", 2)]


@pytest.mark.parametrize(("attention", "cell", "layers"), WAYS)
def test_step_by_step_is_all_at_once(attention: str, cell: str, layers: int) -> None:
    model = made(attention, cell=cell, layers=layers)
    memory_BSM = model.see(pictures(2))
    of_N, target_TN = torch.tensor([0, 1, 1]), torch.tensor([[1, 2, 3], [4, 5, 6], [0, 3, 3]])
    r_TNE, weights_NTS, _ = model.write(target_TN, model.begin(memory_BSM, of_N))
    at = model.begin(memory_BSM, of_N)
    for t, ids_N in enumerate(target_TN):
        logits_NV, at = model.step(ids_N, at)
        torch.testing.assert_close(logits_NV, model.output.logits(r_TNE[t]))
    if attention != "none":
        assert weights_NTS is not None and weights_NTS.shape == (3, 3, model.seeing.places)
        torch.testing.assert_close(weights_NTS.sum(2), torch.ones(3, 3))


@pytest.mark.parametrize(("attention", "cell", "layers"), WAYS)
def test_captions_together_are_captions_alone(attention: str, cell: str, layers: int) -> None:
    model, seen = made(attention, cell=cell, layers=layers), pictures(2)
    captions = [[1, 2, 3], [4], [5, 0, 6, 6]]
    of = [0, 1, 1]
    target_TN = torch.full((6, 3), -100)  # longer than any of them
    for n, caption in enumerate(captions):
        target_TN[: len(caption), n] = torch.tensor(caption)
    together, count = model.nats(model.see(seen), target_TN, torch.tensor(of))
    alone = [
        model.nats(model.see(seen[b : b + 1]), torch.tensor(caption)[:, None])[0]
        for b, caption in zip(of, captions, strict=True)
    ]
    assert count == 3 + 1 + 4 + 3
    torch.testing.assert_close(together, torch.stack(alone).sum())
    other, _ = model.nats(model.see(seen.flip(0)), target_TN, torch.tensor(of))
    assert abs(together - other) > 1e-4  # the picture counts


def test_the_bag_is_what_each_picture_has() -> None:
    model = made()
    memory_BSM = model.see(pictures(2))
    found = model.bag_nats(memory_BSM, torch.tensor([1, 2, 5, 3]), torch.tensor([0, 0, 0, 1]))
    p_BV = model.bag(memory_BSM.mean(1)).sigmoid()
    nats = -(1 - p_BV).log()
    for b, v in [(0, 1), (0, 2), (0, 5), (1, 3)]:
        nats[b, v] = -p_BV[b, v].log()
    torch.testing.assert_close(found, nats.sum() / 4)


def test_what_is_never_written() -> None:
    model = made(never=(0, 3))
    logits_NV, _ = model.step(torch.tensor([V]), model.begin(model.see(pictures(1))))
    assert (logits_NV.softmax(1)[0] == 0).nonzero().flatten().tolist() == [0, 3]


def test_every_gradient_is_there() -> None:
    for attention, cell, layers in WAYS:
        model = made(attention, cell=cell, layers=layers, forgetting=0.5).train()
        memory_BSM, target_TN, of_N = model.see(pictures(2)), torch.tensor([[1, 2], [4, 5]]), torch.tensor([0, 1])
        loss = model.nats(memory_BSM, target_TN, of_N)[0] + model.bag_nats(memory_BSM, target_TN[0], of_N)
        loss.backward()
        idle = {name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()}
        assert not idle


def test_forgetting_is_for_training() -> None:
    model, memory_BSM = made(forgetting=1.0), None
    memory_BSM = model.see(pictures(1))
    one, other = (model.write(torch.tensor([[n]]), model.begin(memory_BSM))[0] for n in (1, 2))
    assert not torch.allclose(one, other)
    model.train()
    model.drop.probability = 0.0
    one, other = (model.write(torch.tensor([[n]]), model.begin(memory_BSM))[0] for n in (1, 2))
    torch.testing.assert_close(one, other)


def test_pictures_vary_in_training_only() -> None:
    torch.manual_seed(0)
    seeing, seen = PixelEncoder((32, 48, 3), width=4, shift=0.1, zoom=0.1, light=0.1), pictures(6)
    seen = torch.cat([seen, seen[:, :, :16]], 2)
    assert not torch.equal(seeing.varied(seen, None), seen.float())
    calm = PixelEncoder((32, 48, 3), width=4)
    assert calm.varied(seen, None) is seen
    turned = calm.varied(seen, torch.tensor([True] * 4 + [False] * 2))
    torch.testing.assert_close(turned[4:], seen[4:].float(), atol=0.01, rtol=0)
    mirrored = [torch.allclose(turned[b], seen[b].flip(1).float(), atol=0.01) for b in range(4)]
    straight = [torch.allclose(turned[b], seen[b].float(), atol=0.01) for b in range(4)]
    assert all(m != s for m, s in zip(mirrored, straight, strict=True)) and any(mirrored) and any(straight)
    calm.eval()
    assert calm(seen).shape == (6, calm.places, calm.output_size)
    assert calm.grid == (4, 6)


@pytest.mark.parametrize("side", [16, 24, 48, 64, 65, 128, 224, 300])
def test_the_map_has_the_size_that_is_said(side: int) -> None:
    seeing = PixelEncoder((side, side, 3), width=4).eval()
    assert seeing(torch.zeros(1, side, side, 3)).shape[1] == seeing.places == seeing.grid[0] * seeing.grid[1]
    assert 2 <= seeing.grid[0] <= 10
    assert stages_for(128) == (4, True)


def test_too_small_a_picture() -> None:
    with pytest.raises(SettingError, match="at least 16 pixels"):
        PixelEncoder((16, 8, 3))


def test_the_names_and_sizes_of_torchvisions_resnet() -> None:
    """What torchvision's resnet18 and resnet34 hold, without their classifier, by the numbers that it publishes."""
    with torch.device("meta"):
        nets = {name: ResidualNet(blocks) for name, blocks in RESNETS.items()}
    counts = {name: sum(p.numel() for p in net.parameters()) for name, net in nets.items()}
    assert counts == {"resnet18": 11_689_512 - 513_000, "resnet34": 21_797_672 - 513_000}
    state = nets["resnet18"].state_dict()
    assert len(state) == 122 - 2
    assert state["conv1.weight"].shape == (64, 3, 7, 7)
    assert state["layer2.0.downsample.0.weight"].shape == (128, 64, 1, 1)
    assert state["layer4.1.bn2.running_var"].shape == (512,)


def test_features_are_taken_as_they_are() -> None:
    torch.manual_seed(0)
    seeing = RegionEncoder((9, 5), 8)
    assert (seeing.places, seeing.output_size, seeing.grid) == (9, 8, (3, 3))
    assert RegionEncoder((7, 5), 8).grid == (1, 7)
    features = torch.randn(2, 9, 5)
    torch.testing.assert_close(seeing(features)[:, 3:4], seeing(features[:, 3:4]))
    before = seeing(features)
    seeing.measure(7 * features + 3)
    seeing.linear.weight.data *= features.flatten(0, 1).std(0, correction=0)
    seeing.linear.bias.data += (seeing.linear.weight / features.flatten(0, 1).std(0, correction=0)) @ features.mean(
        (0, 1)
    )
    torch.testing.assert_close(seeing(7 * features + 3), before)
