"""Recurrent models as a service: sessions whose state is a value, batched across clients."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from elman.serving.client import AsyncClient as AsyncClient
    from elman.serving.client import Client as Client

__all__ = ["AsyncClient", "Client"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from elman.serving import client

        return getattr(client, name)
    raise AttributeError(f"module 'elman.serving' has no attribute {name!r}")
