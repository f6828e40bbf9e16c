"""The scenes: what is said is what is drawn, and what is held out is never seen."""

import numpy as np
import pytest

from elman.data.captions.builtin import COLOURS, NEVER_LARGE, NEVER_SMALL, SHAPES, SIDE, scenes


def pairs_of(caption: str) -> dict[str, tuple[str, str]]:
    words = caption.split()
    return {size: (words[words.index(size) + 1], words[words.index(size) + 2]) for size in ("large", "small")}


@pytest.mark.parametrize("held_out", [False, True])
def test_what_is_held_out(held_out: bool) -> None:
    found = [pairs_of(scene.captions[0]) for scene in scenes(300, seed=3, held_out=held_out)]
    new = [pair["large"] in NEVER_LARGE or pair["small"] in NEVER_SMALL for pair in found]
    assert all(new) if held_out else not any(new)
    if not held_out:  # every colour and every shape is seen in either role
        for size in ("large", "small"):
            assert {pair[size][0] for pair in found} == set(COLOURS)
            assert {pair[size][1] for pair in found} == set(SHAPES)


def test_what_is_said_is_what_is_drawn() -> None:
    """The shapes are the pixels that are near to their colours; sizes and places are compared."""
    names = list(COLOURS)
    palette = np.array([*COLOURS.values()], float)
    checked = set()
    for scene in scenes(300, seed=4):
        pair = pairs_of(scene.captions[0])
        large, small = names.index(pair["large"][0]), names.index(pair["small"][0])
        if large == small:
            continue
        far = np.linalg.norm(scene.image[:, :, None] - palette, axis=3)
        big, little = (np.argwhere(far[:, :, n] < 45) for n in (large, small))
        assert len(big) > len(little) > 30
        (y, x), (v, u) = big.mean(0), little.mean(0)
        assert 0 <= min(x, y, u, v) <= max(x, y, u, v) < SIDE
        across, down = u - x, v - y
        if abs(across) > abs(down):
            said = "is to the right of" if across > 0 else "is to the left of"
        else:
            said = "is below" if down > 0 else "is above"
        assert f"small {' '.join(pair['small'])} {said} a large" in scene.captions[0]
        checked.add(said)
    assert len(checked) == 4


def test_the_second_sentence_says_the_same_and_the_seed_decides() -> None:
    first, again = list(scenes(20, seed=1)), list(scenes(20, seed=1))
    for one, other in zip(first, again, strict=True):
        assert one.captions == other.captions
        np.testing.assert_array_equal(one.image, other.image)
        assert pairs_of(one.captions[0]) == pairs_of(one.captions[1])
        assert one.captions[0].startswith("a small") and one.captions[1].startswith("a large")
    assert first[0].captions != next(iter(scenes(1, seed=2))).captions
