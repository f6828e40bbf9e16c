"""Scenes of two coloured shapes with sentences that describe them: captioning that needs no download.

In each scene there is a large shape and a small one, and either may be any shape of any colour; but a few pairs of
colour and shape never appear as the large one, and a few others never as the small one, unless they are asked for.
A model that has learned what a colour, a shape and a size are describes them all the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SIDE = 48
"""Pixels of a scene in height and width."""

COLOURS = {
    "red": (215, 40, 40),
    "green": (40, 160, 60),
    "blue": (50, 80, 220),
    "yellow": (235, 210, 40),
    "purple": (145, 60, 175),
    "orange": (240, 135, 30),
}
SHAPES = ("circle", "square", "triangle", "cross", "diamond")

NEVER_LARGE = (("red", "circle"), ("green", "square"), ("blue", "triangle"), ("yellow", "cross"))
NEVER_SMALL = (("red", "triangle"), ("green", "diamond"), ("purple", "circle"), ("orange", "square"))
"""What is held out."""

# Where the small shape lies of the large one, in units of their distance: right and down are positive.
RELATIONS = {
    "left": ((-1, 0), "{small} is to the left of {large}", "{large} is to the right of {small}"),
    "right": ((1, 0), "{small} is to the right of {large}", "{large} is to the left of {small}"),
    "above": ((0, -1), "{small} is above {large}", "{large} is below {small}"),
    "below": ((0, 1), "{small} is below {large}", "{large} is above {small}"),
}

_SAMPLES = 3  # points in a pixel and direction, so that edges are smooth


class Scene(NamedTuple):
    """A picture, and the sentences that describe it.

    Attributes:
        image: (SIDE, SIDE, 3).
        captions: the sentences.
    """

    image: NDArray[np.uint8]
    captions: tuple[str, ...]


def scenes(count: int, *, seed: int, held_out: bool = False) -> Iterator[Scene]:
    """Yield scenes.

    Args:
        count: how many.
        seed: of everything random.
        held_out: only scenes with a large shape of `NEVER_LARGE` or a small one of `NEVER_SMALL`; else none of them.
    """
    rng = np.random.default_rng(seed)
    names, shapes = list(COLOURS), SHAPES
    left = count
    while left:
        large, small = ((names[rng.integers(6)], shapes[rng.integers(5)]) for _ in range(2))
        if held_out:
            if rng.integers(2):
                large = NEVER_LARGE[rng.integers(len(NEVER_LARGE))]
            else:
                small = NEVER_SMALL[rng.integers(len(NEVER_SMALL))]
        elif large in NEVER_LARGE or small in NEVER_SMALL:
            continue
        relation = list(RELATIONS)[rng.integers(len(RELATIONS))]
        shapes_of = {"large": f"a large {' '.join(large)}", "small": f"a small {' '.join(small)}"}
        image = draw_scene(large, small, RELATIONS[relation][0], rng)
        yield Scene(image, tuple(sentence.format(**shapes_of) for sentence in RELATIONS[relation][1:]))
        left -= 1


def draw_scene(
    large: tuple[str, str], small: tuple[str, str], direction: tuple[int, int], rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Return the picture of two shapes, each a colour and a name, the small one in a direction of the large one."""
    radius, little = rng.uniform(11.5, 13), rng.uniform(6.3, 7.3)
    step = np.array(direction, float)
    away = step * (radius + little + rng.uniform(1.5, 3)) + rng.uniform(-3, 3, 2) * (1 - np.abs(step))
    # Both lie within the picture: the first place is drawn among those where the second one has room too.
    low = np.maximum(radius, little - away) + 1
    high = SIDE - 1 - np.maximum(radius, little + away)
    first = rng.uniform(low, np.maximum(low, high))
    canvas = np.empty((SIDE, SIDE, 3))
    canvas[:] = rng.uniform(225, 255)
    for (colour, shape), centre, size in ((large, first, radius), (small, first + away, little)):
        tint = np.clip(np.array(COLOURS[colour]) + rng.normal(0, 8, 3), 0, 255)
        cover = pixel_coverage(shape, centre, size)[:, :, None]
        canvas = canvas * (1 - cover) + tint * cover
    noisy = canvas + rng.normal(0, 4, canvas.shape)
    image: NDArray[np.uint8] = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
    return image


def pixel_coverage(shape: str, centre: NDArray[np.float64], size: float) -> NDArray[np.float64]:
    """Return how much of each pixel a shape covers, (SIDE, SIDE), 0 to 1."""
    points = (np.arange(SIDE * _SAMPLES) + 0.5) / _SAMPLES
    x, y = (points[None, :] - centre[0]) / size, (points[:, None] - centre[1]) / size
    within = _WITHIN[shape](x, y)
    cover: NDArray[np.float64] = within.reshape(SIDE, _SAMPLES, SIDE, _SAMPLES).mean((1, 3))
    return cover


_WITHIN = {  # in coordinates where a shape reaches from about -1 to 1, y downwards
    "circle": lambda x, y: x**2 + y**2 < 1,
    "square": lambda x, y: np.maximum(np.abs(x), np.abs(y)) < 0.88,
    "triangle": lambda x, y: (y < 0.85) & (2 * np.abs(x) < 1.12 * (y + 0.95)),
    "cross": lambda x, y: (np.minimum(np.abs(x), np.abs(y)) < 0.32) & (np.maximum(np.abs(x), np.abs(y)) < 1),
    "diamond": lambda x, y: np.abs(x) + np.abs(y) < 1.1,
}
