"""Connections: one that is silent before its request has come is closed."""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol

Protocol: Any = AutoHTTPProtocol


class HttpProtocol(Protocol):  # type: ignore[misc]
    """HTTP by uvicorn, whose timer of a connection runs between two requests alone.

    Here it runs also before the first request and inside the head of a request, so that a client that vanished costs a
    connection for no longer.
    """

    timeout_keep_alive_task: Any

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Take a part of a request."""
        super().data_received(data)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the timer."""
        super().connection_lost(exc)
        self._unset_keepalive_if_required()

    def _wait(self) -> None:
        idle = self.cycle is None or self.cycle.response_complete
        ours = not self.transport.is_closing() and self.transport.get_protocol() is self  # no WebSocket by now
        if idle and ours and self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )
