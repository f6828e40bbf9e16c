"""Requests that are generated from /openapi.json: none gives a 5xx, and every error has the one form."""

from __future__ import annotations

import json
from typing import Any

import httpx
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

CASES = 6  # of each operation; `make trials` runs thousands


def test_generated_requests_give_no_5xx(server: Any) -> None:
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    count = 0
    for result in schema.get_all_operations():
        operation = result.ok()

        @given(case=operation.as_strategy())
        @settings(
            max_examples=CASES, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
        )
        def check(case: Any) -> None:
            nonlocal count
            count += 1
            answer = case.call(timeout=30)
            assert answer.status_code < 500, (case.method, case.path, answer.text)
            if answer.status_code >= 400:
                error = json.loads(answer.content)["error"]
                assert error["message"] and error["what"], answer.text

        check()
    assert count > 50


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(content=st.binary(max_size=200) | st.text(max_size=200).map(str.encode), data=st.data())
def test_bytes_of_any_kind_are_refused(server: Any, content: bytes, data: Any) -> None:
    paths = ["/v1/completions", "/v1/sessions", "/v1/sessions/restore", "/v1/predict/shop", "/v1/audio/transcriptions"]
    kinds = ["application/json", "multipart/form-data; boundary=x", "multipart/form-data", "text/plain", "x"]
    headers = {"content-type": data.draw(st.sampled_from(kinds))}
    answer = httpx.post(
        server.url + data.draw(st.sampled_from(paths)), content=content, headers=headers, timeout=30, trust_env=False
    )
    assert 400 <= answer.status_code < 500
    assert answer.json()["error"]["what"]
