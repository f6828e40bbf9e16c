"""Runs of format 1: the names that differ in them, and what format 2 calls these."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

SHARED_SETTINGS = {"variational": "variational_dropout"}

SETTINGS: dict[str, dict[str, str]] = {
    "classify": {
        "columns": "column_names",
        "order": "pixel_order",
        "picture_size": "image_size",
        "still": "keep_mean_frame",
        "seconds": "time_range",
        "longest": "max_seconds",
        "rate": "sample_rate",
        "bands": "mel_bands",
        "trim": "trim_silence",
        "shift": "max_shift",
        "mirror": "horizontal_flip",
        "symbol_dropout": "word_dropout",
    },
    "language-model": {"tied": "tie_weights", "vary": "vary_window"},
    "forecast": {
        "time": "time_columns",
        "series": "series_column",
        "columns": "target_columns",
        "known": "known_columns",
        "every": "frequency",
        "order": "unsorted",
        "constants": "constant_series",
        "normalise": "window_norm",
        "least": "min_value",
        "calendar": "calendar_features",
        "validation_windows": "max_validation_windows",
    },
    "recommend": {
        "session": "session_column",
        "item": "item_column",
        "time": "time_columns",
        "columns": "column_names",
        "gap": "session_gap",
        "judged": "max_validation_events",
        "item_least": "min_item_count",
        "at": "top_k",
        "tied": "tie_weights",
    },
    "caption": {
        "size": "image_size",
        "rare": "min_count",
        "longest": "max_symbols",
        "weights": "pretrained_weights",
        "shift": "max_shift_share",
        "zoom": "max_zoom",
        "light": "max_brightness_change",
        "mirror": "horizontal_flip",
        "sided": "no_flip_words",
        "forgetting": "word_dropout",
        "smoothing": "label_smoothing",
        "bag": "bag_of_words_weight",
        "captions": "captions_per_image",
    },
    "similarity": {
        "first": "first_column",
        "second": "second_column",
        "score": "score_column",
        "longest": "max_words",
        "buckets": "subword_buckets",
        "vectors": "word_vectors",
        "vectors_more": "extra_word_vectors",
        "grades": "score_bins",
    },
    "transcribe": {
        "rate": "sample_rate",
        "bands": "mel_bands",
        "trim": "trim_silence",
        "longest": "max_seconds",
        "components": "pca_components",
        "copies": "augmented_copies",
        "normalise": "feature_norm",
        "stretch": "max_time_stretch",
        "warp": "max_frequency_warp",
    },
    "translate": {
        "joint": "joint_vocabulary",
        "longest": "max_symbols",
        "smoothing": "label_smoothing",
        "sampling": "scheduled_sampling",
        "tokens": "batch_tokens",
    },
}
"""Of each recipe: the old name of a setting, and the new one."""

DATA: dict[str, dict[str, str]] = {
    "classify": {},
    "language-model": {},
    "forecast": {"rows_left_out": "skipped_rows", "left_out": "skipped", "series_left_out": "skipped_series"},
    "recommend": {"bad_rows_left_out": "skipped_rows", "left_out": "skipped"},
    "caption": {"captions_left_out_as_too_long": "skipped_captions"},
    "similarity": {"rows_left_out": "skipped_rows", "left_out": "skipped"},
    "transcribe": {"left_out_as_broken": "skipped", "seconds_of_a_step": "seconds_per_step"},
    "translate": {"left_out_as_too_long": "skipped_rows", "too_long": "skipped"},
}
"""Of each recipe: the old name of a fact about the data, and the new one."""

METRICS: dict[str, dict[str, str]] = {"similarity": {"mean_squared_error": "mse"}}
"""Of each recipe: the old name of a metric, and the new one."""


def upgraded(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config.json of format 1, which has been checked, as format 2 has it."""
    recipe = config["recipe"]
    settings = renamed(config["settings"], {**SHARED_SETTINGS, **SETTINGS.get(recipe, {})})
    if recipe in SETTINGS and not isinstance(files := settings.get("validation_data", ()), list | tuple):
        settings["validation_data"] = [] if files is None else [files]
    data = renamed(config["data"], DATA.get(recipe, {}))
    if isinstance(lines := data.get("skipped"), list) and "skipped_rows" not in data:
        data["skipped_rows"] = counted(lines)
    return {**config, "format": 2, "settings": settings, "data": data}


def counted(lines: Sequence[Any]) -> int:
    """Return the number of skipped rows out of their descriptions, the last of which may be "and 1,234 more"."""
    more = re.fullmatch(r"and ([0-9][0-9,]{0,20}) more", str(lines[-1])) if lines else None
    return len(lines) - 1 + int(more[1].replace(",", "")) if more else len(lines)


def renamed(values: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Return a mapping with some of its keys renamed, in the same order."""
    return {names.get(key, key): value for key, value in values.items()}
