"""/v1/predict: the answers of `elman predict --json`, and no name of a file from a client."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

import elman
from elman.errors import DataError, SettingError
from elman.predictors.untrusted import UploadedFile, answers_to_files, answers_to_values


def test_numbers_are_answered_as_by_predict(client: httpx.Client, classify_run: Path) -> None:
    series = [[[n, 0.1] for n in range(6)], [[-n, 0.1] for n in range(6)]]
    answer = client.post("/v1/predict/trends", json={"inputs": series, "options": {"top": 1}})
    assert answer.status_code == 200, answer.text
    import numpy as np

    expected = [a.fields for a in elman.load(classify_run).predict([np.array(x, float) for x in series], top=1)]
    assert answer.json() == {"predictions": expected}


def test_items_and_rows_are_answered_as_by_predict(
    client: httpx.Client, recommend_run: Path, forecast_run: Path
) -> None:
    answer = client.post("/v1/predict/shop", json={"inputs": ["p1", "p2"], "options": {"top_k": 3}})
    assert answer.json()["predictions"] == [a.fields for a in elman.load(recommend_run).predict(["p1", "p2"], top_k=3)]
    assert client.post("/v1/predict/months", json={"inputs": [[1, 2]]}).status_code == 422


def test_files_are_answered_as_by_predict(client: httpx.Client, forecast_run: Path, forecast_data: Path) -> None:
    files = [("files", ("x.csv", forecast_data.read_bytes()))]
    answer = client.post("/v1/predict/months", files=files, data={"options": '{"horizon": 3}'})
    assert answer.status_code == 200, answer.text
    expected = [a.fields for a in elman.load(forecast_run).predict(forecast_data, horizon=3)]
    assert answer.json()["predictions"] == [{**fields, "input": "x.csv"} for fields in expected]


@pytest.mark.parametrize("model", ["trends", "shop", "months", "whistles", "text"])
@pytest.mark.parametrize("value", ["/etc/passwd", "-", "~/.ssh/id_rsa", {"path": "/etc/passwd"}, ["/etc/passwd"]])
def test_no_client_names_a_file(client: httpx.Client, model: str, value: Any) -> None:
    answer = client.post(f"/v1/predict/{model}", json={"inputs": [value]})
    assert "root:" not in answer.text
    assert answer.status_code in (409, 422) or model == "shop"


def test_options_that_name_files_are_refused(client: httpx.Client, similarity_run: Path, tmp_path: Path) -> None:
    answer = client.post("/v1/predict/shop", json={"inputs": ["p1"], "options": {"state": str(tmp_path / "x")}})
    assert answer.status_code == 422 and "names a file" in answer.text
    predictor = elman.load(similarity_run)
    for name in ("embed", "nearest"):
        with pytest.raises(SettingError, match="names a file"):
            list(answers_to_values(predictor, ["a\tb"], {name: str(tmp_path / "x")}))
    (scored,) = answers_to_values(predictor, [["one cat eats here", "a cat eats today"]], {})
    (expected,) = predictor.predict([("one cat eats here", "a cat eats today")])
    assert scored.fields == expected.fields
    with pytest.raises(DataError):
        list(answers_to_values(predictor, [3.5], {}))
    assert not list(tmp_path.iterdir())


def test_names_of_uploads_are_the_clients(forecast_run: Path) -> None:
    predictor = elman.load(forecast_run)
    with pytest.raises(DataError, match=r"evil\.csv") as caught:
        list(answers_to_files(predictor, [UploadedFile("../../evil.csv", b"month,a,b\n2000-01,x,1\n")], {}))
    assert "/tmp" not in str(caught.value)


@pytest.mark.parametrize(
    "body", [{}, {"inputs": []}, {"inputs": [None]}, {"inputs": "p1"}, {"inputs": ["p1"], "options": {"x": 1}}, []]
)
def test_invalid_predictions_are_refused(client: httpx.Client, body: Any) -> None:
    answer = client.post("/v1/predict/shop", json=body)
    assert answer.status_code == 422
    assert answer.json()["error"]["what"]


def test_too_many_inputs_are_refused(client: httpx.Client) -> None:
    assert client.post("/v1/predict/shop", json={"inputs": ["p1"] * 51}).status_code == 413
    answer = client.post("/v1/predict/shop", content=json.dumps({"inputs": ["x" * (1 << 20)]}))
    assert answer.status_code == 413 and answer.json()["error"]["type"] == "TooLarge"
