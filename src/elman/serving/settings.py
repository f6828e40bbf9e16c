"""Settings of a server and its limits."""

from __future__ import annotations

from dataclasses import dataclass

from elman.settings import Settings, setting


@dataclass(frozen=True, kw_only=True)
class Limits(Settings):
    """Limits of a server, which `elman serve --set NAME=VALUE` changes."""

    body_bytes: int = setting(32 << 20, "bytes of the body of a request", low=1024)
    max_tokens: int = setting(100_000, "symbols that a request generates", low=1)
    prompt_symbols: int = setting(1_000_000, "symbols that a request gives to read", low=1)
    inputs: int = setting(1000, "inputs of a prediction, events or observations of a request", low=1)
    horizon: int = setting(1000, "steps of a forecast", low=1)
    answer_symbols: int = setting(1_000_000, "symbols of an answer that does not stream, times logprobs", low=1)
    choices: int = setting(64, "completions of a request (n, times the prompts)", low=1)
    sound_seconds: float = setting(3600, "seconds of a sound", low=1)
    sessions: int = setting(1_000_000, "sessions in the store, of all clients", low=1)
    active: int = setting(1024, "requests that run at a time", low=1)
    waiting: int = setting(4096, "requests that wait; beyond it is 429", low=0)
    requests_per_second: float = setting(0, "requests of a token or an address in a second; 0: any number", low=0)
    session_seconds: float = setting(30 * 86400, "seconds that a session is kept without a request", low=1)
    wait_seconds: float = setting(30, "seconds that a request waits for a busy session", low=0)
    idle_seconds: float = setting(60, "seconds that a stream of sound or steps may be silent", low=1)
    send_seconds: float = setting(30, "seconds that a client may take to read what was sent", low=1)
    unread_symbols: int = setting(4096, "symbols of a stream that wait for a slow client; then it pauses", low=16)
    drain_seconds: float = setting(30, "seconds that requests have to end after SIGTERM", low=0)
    predictions: int = setting(2, "predictions that compute at a time", low=1)
    piece: int = setting(32, "symbols of a prompt that are read at a time", low=1)
    one_at_a_time: bool = setting(False, "run one session at a time, for comparison")
