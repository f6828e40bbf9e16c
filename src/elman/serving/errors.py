"""Errors of the service: what a client sees, in one form."""

from __future__ import annotations

from typing import Any

from elman.errors import ElmanError


class ServiceError(ElmanError):
    """A request that cannot be served.

    Attributes:
        status: of HTTP.
        retry_after: seconds after which the same request may be served; None: it will not.
    """

    status = 400
    retry_after: float | None = None


class UnknownSession(ServiceError):  # noqa: N818 - what it names, beside UnknownModel
    """There is no such session, or it has expired."""

    status = 404

    def __init__(self, name: str) -> None:
        super().__init__(
            "there is no such session", should="the id of a session", found=name[:80],
            hint="POST /v1/sessions begins one; sessions expire",
        )  # fmt: skip


class UnknownModel(ServiceError):  # noqa: N818
    """There is no such model."""

    status = 404


class WrongKind(ServiceError):  # noqa: N818
    """The model does not answer such requests."""

    status = 409


class BadSnapshot(ServiceError):  # noqa: N818
    """A snapshot is damaged, or belongs to another model."""

    status = 422


class TooSlow(ServiceError):  # noqa: N818
    """The body of a request does not come."""

    status = 408


class TooLarge(ServiceError):  # noqa: N818
    """A request is larger than a limit."""

    status = 413


class SessionBusy(ServiceError):  # noqa: N818
    """Another request has the session."""

    status = 409
    retry_after = 1.0


class TooBusy(ServiceError):  # noqa: N818
    """The server has no room for the request now."""

    status = 429
    retry_after = 1.0


class Unavailable(ServiceError):  # noqa: N818
    """The store cannot be reached or is full, or the server is stopping."""

    status = 503
    retry_after = 5.0


class Failed(ServiceError):  # noqa: N818
    """The model has failed at a request, or at others that were computed with it; nothing of it is saved."""

    status = 500


class LostLease(ServiceError):  # noqa: N818
    """Another worker took the session over; nothing that this request did is saved."""

    status = 409


class Unauthorized(ServiceError):  # noqa: N818
    """The request has no valid token."""

    status = 401


class Forbidden(ServiceError):  # noqa: N818
    """The Host or the Origin of the request is not one of the server's."""

    status = 403


def error_body(error: ElmanError, kind: str | None = None) -> dict[str, Any]:
    """Return an error as clients see it; `message` and `type` are what clients of OpenAI read."""
    return {
        "error": {
            "type": kind or type(error).__name__,
            "message": str(error),
            "what": error.what,
            "should": error.should,
            "found": error.found,
            "hint": error.hint,
        }
    }


def status_of(error: ElmanError) -> int:
    """Return the status of HTTP of an error."""
    return error.status if isinstance(error, ServiceError) else 422
