"""Sessions in a file of SQLite, in its write-ahead log: a kill at any moment loses nothing that was acknowledged."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from elman.errors import RunError, SettingError, look_up
from elman.serving.errors import LostLease, SessionBusy, TooBusy, UnknownSession
from elman.serving.stores.base import LEASE, Lease, Record, Store

DURABILITIES = {"full": "FULL", "process": "NORMAL", "none": "OFF"}
"""Levels: `full` survives a loss of power; `process` the end of the process at any moment, a loss of power costs the
last transactions; `none` the end of the process, a loss of power may damage the file."""

VERSION = 1
COUNTED = 256  # sessions that are added between two counts of all
SCHEMA = """
CREATE TABLE IF NOT EXISTS sessions (
    id TEXT PRIMARY KEY, tenant TEXT NOT NULL, model TEXT NOT NULL, kind TEXT NOT NULL, weights TEXT NOT NULL,
    position INTEGER NOT NULL, created REAL NOT NULL, touched REAL NOT NULL, ttl REAL NOT NULL,
    state BLOB NOT NULL, tail BLOB NOT NULL,
    owner TEXT NOT NULL DEFAULT '', fence INTEGER NOT NULL DEFAULT 0, until REAL NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS of_tenant ON sessions (tenant, id);
CREATE INDEX IF NOT EXISTS by_end ON sessions (touched + ttl);
"""
COLUMNS = "id, tenant, model, kind, weights, position, created, touched, ttl"


class SqliteStore(Store):
    """Sessions in a file, for one or several workers on a host.

    Args:
        path: the file; it is created.
        durability: a name in `DURABILITIES`.
        memory: no file, for `memory`.

    Raises:
        RunError: the file cannot be opened, or holds something else.
        SettingError: an unknown durability.
    """

    def __init__(self, path: Path, durability: str = "process", *, memory: bool = False) -> None:
        level = look_up("durability", durability, DURABILITIES)
        self._room = 0
        try:
            self.connection = sqlite3.connect(":memory:" if memory else path, timeout=10, isolation_level=None)
            mode = self.connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
            self.connection.execute(f"PRAGMA synchronous={level}")
            version = self.connection.execute("PRAGMA user_version").fetchone()[0]
            tables = self.connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            if version not in (0, VERSION) or (version == 0 and tables):
                raise RunError(f"{path} holds something else", should="sessions of elman", found="another database")
            self.connection.executescript(SCHEMA + f"PRAGMA user_version={VERSION};")
        except sqlite3.Error as error:
            raise RunError(
                f"{path} cannot be opened", should="a file of sessions in a writable folder", found=str(error),
                hint="--store sqlite:PATH",
            ) from error  # fmt: skip
        if mode != "wal" and not memory:
            raise SettingError(
                f"{path} has no write-ahead log", should="a local disk", found=f"journal mode {mode}",
                hint="another folder in --store sqlite:PATH",
            )  # fmt: skip

    def create(self, record: Record, most: int) -> None:
        """Add a session."""
        if not self._room:
            self._room = min(COUNTED, most - self.count())
        if self._room <= 0:
            self._room = 0
            raise TooBusy(
                "there are too many sessions", should=f"at most {most:,}", found=f"{most:,}", hint="delete some"
            )
        self._room -= 1
        r = record
        values = (r.id, r.tenant, r.model, r.kind, r.weights, r.position, r.created, r.touched, r.ttl, r.state, r.tail)
        self.connection.execute(
            f"INSERT INTO sessions ({COLUMNS}, state, tail) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values
        )

    def read(self, session: str, tenant: str, now: float) -> Record:
        """Return a session."""
        row = self.connection.execute(
            f"SELECT {COLUMNS}, state, tail FROM sessions WHERE id = ? AND tenant = ? AND touched + ttl > ?",
            (session, tenant, now),
        ).fetchone()
        if row is None:
            raise UnknownSession(session)
        return Record(*row)

    def acquire(self, session: str, tenant: str, owner: str, now: float) -> tuple[Record, Lease]:
        """Return a session and its lease. All workers are on one host: its monotonic clock ends leases."""
        record = self.read(session, tenant, now)
        here = time.monotonic()
        row = self.connection.execute(
            "UPDATE sessions SET owner = ?, fence = fence + 1, until = ? "
            "WHERE id = ? AND (owner = '' OR until < ? OR until > ?) RETURNING fence",
            (owner, here + LEASE, session, here, here + 2 * LEASE),  # later than possible: the host was restarted
        ).fetchone()
        if row is None:
            raise SessionBusy("the session is busy", should="one request at a time", found="another worker has it")
        return record, Lease(session, row[0])

    def renew(self, lease: Lease) -> None:
        """Extend a lease."""
        self._own(lease, "until = ?", time.monotonic() + LEASE)

    def write(
        self, lease: Lease, position: int, now: float, *, state: bytes | None, tail: bytes, release: bool
    ) -> None:
        """Write a session."""
        owner = ", owner = ''" if release else ""
        if state is None:
            self._own(lease, f"position = ?, touched = ?, tail = ?{owner}", position, now, tail)
        else:
            self._own(lease, f"position = ?, touched = ?, tail = ?, state = ?{owner}", position, now, tail, state)

    def release(self, lease: Lease) -> None:
        """End a lease."""
        self.connection.execute("UPDATE sessions SET owner = '' WHERE id = ? AND fence = ?", lease)

    def delete(self, session: str, tenant: str, now: float) -> None:
        """Remove a session."""
        self.read(session, tenant, now)
        self.connection.execute("DELETE FROM sessions WHERE id = ?", (session,))

    def list(self, tenant: str, after: str, limit: int, now: float) -> list[Record]:
        """Return sessions in the order of their names."""
        rows = self.connection.execute(
            f"SELECT {COLUMNS} FROM sessions WHERE tenant = ? AND id > ? AND touched + ttl > ? ORDER BY id LIMIT ?",
            (tenant, after, now, limit),
        )
        return [Record(*row) for row in rows]

    def expire(self, now: float) -> int:
        """Remove the sessions whose time is over."""
        return self.connection.execute("DELETE FROM sessions WHERE touched + ttl <= ?", (now,)).rowcount

    def count(self) -> int:
        """Return the number of sessions."""
        count: int = self.connection.execute("SELECT count(*) FROM sessions").fetchone()[0]
        return count

    @contextmanager
    def transaction(self, *, reads: bool = False) -> Iterator[None]:
        """Write what is written inside at once."""
        self.connection.execute("BEGIN" if reads else "BEGIN IMMEDIATE")
        try:
            yield
            self.connection.execute("COMMIT")
        except BaseException:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            raise

    def close(self) -> None:
        """Close the file."""
        self.connection.close()

    def _own(self, lease: Lease, change: str, *values: object) -> None:
        done = self.connection.execute(
            f"UPDATE sessions SET {change} WHERE id = ? AND fence = ? AND owner != ''", (*values, *lease)
        )
        if not done.rowcount:
            raise LostLease(
                "the session was taken over", should="the newest lease", found="a newer one, or a deleted session",
                hint="read the session, and continue from its position",
            )  # fmt: skip
