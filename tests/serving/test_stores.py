"""Stores: leases with fencing, expiry, full disks, and the same behaviour of SQLite and Redis."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from elman.errors import RunError, SettingError
from elman.serving.errors import LostLease, SessionBusy, TooBusy, Unavailable, UnknownSession
from elman.serving.stores import base, sqlite
from elman.serving.stores.base import Record, SessionClock, Store, StoreThread
from elman.serving.stores.choice import store_opener
from elman.serving.stores.sqlite import SqliteStore


@pytest.fixture(params=["sqlite", "memory", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    address = {"sqlite": f"sqlite:{tmp_path}/s.db", "memory": "memory"}.get(request.param)
    address = address or request.getfixturevalue("redis_address")
    opened = store_opener(address, "full" if request.param == "redis" else "process")()
    if request.param == "redis":
        opened.client.flushdb()  # type: ignore[attr-defined]
    yield opened
    opened.close()


def record(name: str = "a", **fields: Any) -> Record:
    values: dict[str, Any] = {"tenant": "ann", "model": "m", "kind": "text", "weights": "w", "position": 0}
    values |= {"created": 1000.0, "touched": 1000.0, "ttl": 50.0, "state": b"\0\xff", "tail": b""}
    return Record(name, **{**values, **fields})


def test_a_session_is_read_as_it_was_written(store: Store) -> None:
    with store.transaction():
        store.create(record(), 10)
    assert store.read("a", "ann", 1001.0) == record()
    _, lease = store.acquire("a", "ann", "w1", 1001.0)
    with store.transaction():
        store.write(lease, 7, 1002.0, state=None, tail=b"\1", release=False)
    assert store.read("a", "ann", 1003.0) == record(position=7, touched=1002.0, tail=b"\1")
    with store.transaction():
        store.write(lease, 9, 1004.0, state=b"new", tail=b"", release=True)
    assert store.read("a", "ann", 1005.0) == record(position=9, touched=1004.0, state=b"new")
    with pytest.raises(UnknownSession):
        store.read("a", "bob", 1005.0)


def test_one_worker_at_a_time_has_a_session(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.create(record(), 10)
    _, lease = store.acquire("a", "ann", "w1", 1001.0)
    with pytest.raises(SessionBusy):
        store.acquire("a", "ann", "w2", 1001.0)
    store.renew(lease)
    store.release(lease)
    read, second = store.acquire("a", "ann", "w2", 1001.0)
    assert second.fence > lease.fence and read.position == 0
    for late in (
        lambda: store.write(lease, 99, 1002.0, state=b"late", tail=b"", release=True),
        lambda: store.renew(lease),
    ):
        with pytest.raises(LostLease):
            late()
    store.release(lease)
    store.write(second, 1, 1002.0, state=b"second", tail=b"", release=True)
    assert store.read("a", "ann", 1003.0).state == b"second"


def test_a_lease_that_was_given_back_is_not_renewed(store: Store) -> None:
    store.create(record(), 10)
    _, lease = store.acquire("a", "ann", "w1", 1001.0)
    store.renew(lease)
    store.write(lease, 1, 1002.0, state=b"x", tail=b"", release=True)
    with pytest.raises(LostLease):
        store.renew(lease)
    _, second = store.acquire("a", "ann", "w2", 1002.0)
    store.release(second)
    with pytest.raises(LostLease):
        store.renew(second)
    store.acquire("a", "ann", "w3", 1002.0)


def test_a_lease_ends_when_its_worker_does_not_renew_it(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    module = "elman.serving.stores.redis" if type(store).__name__ == "RedisStore" else "elman.serving.stores.sqlite"
    monkeypatch.setattr(f"{module}.LEASE", 0.05)
    store.create(record(), 10)
    _, lease = store.acquire("a", "ann", "w1", 1001.0)
    time.sleep(0.12)
    _, second = store.acquire("a", "ann", "w2", 1001.0)
    with pytest.raises(LostLease):
        store.write(lease, 5, 1002.0, state=b"late", tail=b"", release=True)
    store.write(second, 6, 1002.0, state=b"now", tail=b"", release=True)


def test_a_deleted_session_cannot_be_written(store: Store) -> None:
    store.create(record(), 10)
    _, lease = store.acquire("a", "ann", "w1", 1001.0)
    with pytest.raises(UnknownSession):
        store.delete("a", "bob", 1001.0)
    store.delete("a", "ann", 1001.0)
    with pytest.raises(LostLease):
        store.write(lease, 5, 1002.0, state=b"late", tail=b"", release=True)
    with pytest.raises(UnknownSession):
        store.read("a", "ann", 1001.0)


def test_sessions_are_listed_in_order(store: Store) -> None:
    for name in ("c", "a", "b", "d"):
        store.create(record(name, tenant="bob" if name == "d" else "ann"), 10)
    assert [row.id for row in store.list("ann", "", 2, 1001.0)] == ["a", "b"]
    assert [row.id for row in store.list("ann", "b", 9, 1001.0)] == ["c"]
    assert [row.id for row in store.list("bob", "", 9, 1001.0)] == ["d"]
    assert all(row.state == b"" for row in store.list("ann", "", 9, 1001.0))
    assert store.count() == 4


def test_the_number_of_sessions_is_limited(store: Store) -> None:
    for name in "abc":
        store.create(record(name), 3)
    with pytest.raises(TooBusy):
        store.create(record("d"), 3)
    store.delete("b", "ann", 1001.0)
    store.create(record("d"), 3)


def test_sessions_expire(store: Store) -> None:
    store.create(record("old", ttl=0.1), 10)
    store.create(record("new", touched=2000.0), 10)
    time.sleep(0.15)
    with pytest.raises(UnknownSession):
        store.read("old", "ann", 1051.0)
    assert store.expire(1051.0) == 1
    assert [row.id for row in store.list("ann", "", 9, 1051.0)] == ["new"]


def test_pages_are_full_where_sessions_have_expired(store: Store) -> None:
    for name in "abcdefgh":
        store.create(record(name, ttl=0.05 if name in "abdf" else 50.0, touched=1001.0), 10)
    time.sleep(0.08)
    assert [row.id for row in store.list("ann", "", 2, 1002.0)] == ["c", "e"]
    assert [row.id for row in store.list("ann", "e", 2, 1002.0)] == ["g", "h"]
    assert store.list("ann", "h", 2, 1002.0) == []


def test_a_clock_that_jumps_ends_no_session(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SessionClock()
    before = clock()
    monkeypatch.setattr(time, "time", lambda: before + 1e9)
    assert clock() - before < 5


def test_a_lease_of_before_a_restart_of_the_host_has_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SqliteStore(tmp_path / "s.db")
    store.create(record(), 10)
    monkeypatch.setattr(time, "monotonic", lambda: 1e6)
    store.acquire("a", "ann", "w1", 1001.0)
    monkeypatch.setattr(time, "monotonic", lambda: 60.0)
    store.acquire("a", "ann", "w2", 1001.0)
    store.close()


def test_files_that_are_no_store_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no database, but more than a hundred letters " * 9)
    with sqlite3.connect(tmp_path / "other") as other:
        other.execute("CREATE TABLE t (x)")
    other.close()
    for name in ("text", "other", "no/folder"):
        with pytest.raises(RunError):
            SqliteStore(tmp_path / name)
    with pytest.raises(SettingError, match="durability"):
        SqliteStore(tmp_path / "new", "most")
    with pytest.raises(RunError, match="Redis does not answer"):
        store_opener("redis://127.0.0.1:1/0", "process")()


def run(thread: StoreThread, *operations: Any) -> list[Any]:
    async def each() -> list[Any]:
        return await asyncio.gather(*(thread.run(operation) for operation in operations), return_exceptions=True)

    return asyncio.run(each())


def test_a_full_store_refuses_and_recovers(tmp_path: Path) -> None:
    thread = StoreThread(lambda: SqliteStore(tmp_path / "s.db"), lambda count, seconds: None)
    thread.start()
    assert run(thread, lambda store: store.create(record("a"), 10)) == [None]
    run(thread, lambda store: store.connection.execute("PRAGMA max_page_count=1"))
    big = replace(record("b"), state=bytes(1 << 20))
    (error,) = run(thread, lambda store: store.create(big, 10))
    assert isinstance(error, Unavailable) and "full" in str(error.found)
    assert run(thread, lambda store: store.read("a", "ann", 1001.0)) == [record("a")]
    run(thread, lambda store: store.connection.execute("PRAGMA max_page_count=100000"))
    assert run(thread, lambda store: store.create(big, 10)) == [None]
    thread.stop()


def test_an_operation_that_fails_undoes_no_others(tmp_path: Path) -> None:
    thread = StoreThread(lambda: SqliteStore(tmp_path / "s.db"), lambda count, seconds: None)
    thread.start()

    def half(store: Store) -> None:
        store.create(record("half"), 1000)
        raise ZeroDivisionError("made up")

    many = [lambda store, n=n: store.create(record(f"s{n}"), 1000) for n in range(20)]
    results = run(thread, lambda store: time.sleep(0.05), *many[:10], half, *many[10:])
    assert isinstance(results.pop(11), Unavailable) and results == [None] * 21
    thread.stop()
    store = SqliteStore(tmp_path / "s.db")
    assert store.count() == 20
    store.close()


def test_who_reads_waits_for_nobody_who_writes(tmp_path: Path) -> None:
    thread = StoreThread(lambda: SqliteStore(tmp_path / "s.db"), lambda count, seconds: None)
    thread.start()
    run(thread, lambda store: store.create(record("a"), 10))
    other = sqlite3.connect(tmp_path / "s.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    async def read() -> Record:
        async with asyncio.timeout(2):
            return await thread.run(lambda store: store.read("a", "ann", 1001.0), reads=True)

    assert asyncio.run(read()) == record("a")
    other.execute("ROLLBACK")
    other.close()
    thread.stop()


def test_waiting_operations_share_a_transaction(tmp_path: Path) -> None:
    counts: list[int] = []
    thread = StoreThread(lambda: SqliteStore(tmp_path / "s.db"), lambda count, seconds: counts.append(count))
    thread.start()
    slow = [lambda store: time.sleep(0.1)]
    many = [lambda store, n=n: store.create(record(f"s{n}"), 1000) for n in range(100)]
    wrong = [lambda store: store.read("nope", "ann", 1.0)]
    results = run(thread, *slow, *many, *wrong)
    assert isinstance(results.pop(), UnknownSession) and results == [None] * 101
    assert len(counts) <= 3 and sum(counts) == 102
    thread.stop()
    assert SqliteStore(tmp_path / "s.db").count() == 100


def test_levels_of_durability_are_those_of_sqlite(tmp_path: Path) -> None:
    for level, number in (("full", 2), ("process", 1), ("none", 0)):
        store = SqliteStore(tmp_path / level, level)
        assert store.connection.execute("PRAGMA synchronous").fetchone()[0] == number
        store.close()
    assert set(sqlite.DURABILITIES) == {"full", "process", "none"} and base.LEASE > 1
