"""The export of a recommender: predict.py recommends what `elman predict` recommends."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import elman
from elman.errors import ExportError
from elman.exporters.applications.programs import recommend
from elman.recipes.recommend import Recommend
from elman.recipes.run import start

Program = Callable[..., Any]
EVENTS: list[Any] = ["p1", "p4", "none", "é", 7, {"session": "ann", "item": "p2"}, {"session": "bob", "items": []}]
EVENTS += [{"session": "ann", "items": ["p3", "p3", "?"]}, {"session": "bob", "items": ["p5", "p0"], "end": True}]
EVENTS += [{"session": "bob", "item": "p1"}, *(f"p{n % 6}" for n in range(20))]


def same(answer: dict[str, Any], fields: dict[str, Any]) -> None:
    assert answer.keys() == fields.keys()
    assert answer["scores"] == pytest.approx(fields["scores"], abs=1e-4)
    for name in ("items", "events", "unknown", "session", "of"):
        assert answer.get(name) == fields.get(name)


@pytest.mark.parametrize("options", [[], ["--top-k", "3"], ["--exclude-seen"]])
def test_a_shared_run(
    recommend_run: Path, tmp_path: Path, program: Program, options: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    elman.export(recommend_run, tmp_path / "app")
    settings = {"--top-k": ("top_k", 3), "--exclude-seen": ("exclude_seen", True)}
    chosen = dict([settings[options[0]]]) if options else {}
    predictor: Any = elman.load(recommend_run)
    items = ["p1", "p2", "?"]
    (answer,), (expected,) = program(tmp_path / "app", *items, *options), predictor.predict(items, **chosen)
    same(answer, expected.fields)
    lines = "".join(f"{json.dumps(event)}\n" for event in EVENTS).encode()
    answers = program(tmp_path / "app", "-", *options, stdin=lines)
    monkeypatch.setattr("elman.predictors.recommender.stdin_text", lambda: iter(lines.decode().splitlines()))
    for answer, expected in zip(answers, predictor.predict(["-"], **chosen), strict=True):
        same(answer, expected.fields)
    if not options:
        assert "is not an event" in program(tmp_path / "app", "-", stdin=b'{"a": 1}\n', code=2)


def test_other_settings(recommend_data: Path, tmp_path: Path, program: Program) -> None:
    settings = {"hidden": 6, "embedding": 4, "tie_weights": False, "loss": "bpr-max", "cell": "lstm", "layers": 2}
    start(Recommend, [recommend_data], {**settings, "steps": 4, "learn_initial_state": True}, tmp_path / "run")
    elman.export(tmp_path / "run", tmp_path / "app")
    (answer,), (expected,) = program(tmp_path / "app", "p1", "p2"), elman.load(tmp_path / "run").predict(["p1", "p2"])
    same(answer, expected.fields)


def test_items_of_wrong_names_are_refused(recommend_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = recommend.NextItems.answer

    def seen_again(self: Any, session: Any, unknown: Any, top_k: int, exclude_seen: bool) -> Any:
        return answer(self, session, unknown, top_k, False)

    def reversed_names(self: Any, *options: Any) -> Any:
        result = answer(self, *options)
        return {**result, "items": result["items"][::-1]}

    for wrong in (seen_again, reversed_names):
        monkeypatch.setattr(recommend.NextItems, "answer", wrong)
        with pytest.raises(ExportError, match="other numbers"):
            elman.export(recommend_run, tmp_path / "app")
