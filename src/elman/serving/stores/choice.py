"""The store of a server by its address."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from elman.errors import SettingError, extra
from elman.serving.stores.base import Store
from elman.serving.stores.sqlite import SqliteStore

DEFAULT = "sqlite:elman-sessions.db"
MEMORY = "memory"
FORMS = "sqlite:PATH, memory or redis://HOST:PORT/NUMBER"


def store_opener(address: str, durability: str) -> Callable[[], Store]:
    """Return what opens a store.

    Raises:
        MissingExtraError: the client of Redis is not installed.
        SettingError: the address is of no store.
    """
    if address == MEMORY:
        return lambda: SqliteStore(Path(MEMORY), "none", memory=True)
    if address.startswith("sqlite:") and len(address) > len("sqlite:"):
        path = Path(address.removeprefix("sqlite:"))
        return lambda: SqliteStore(path, durability)
    if address.startswith(("redis://", "rediss://")):
        with extra("serve", "a store in Redis"):
            from elman.serving.stores.redis import RedisStore
        return lambda: RedisStore(address, durability)
    raise SettingError("--store names no store", should=FORMS, found=address, hint=f"--store {DEFAULT}")
