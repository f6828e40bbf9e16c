"""Sessions in Redis, for workers on several hosts: any of them continues any session, and never two at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from elman.errors import RunError, SettingError, first_line, look_up
from elman.serving.errors import LostLease, SessionBusy, TooBusy, UnknownSession
from elman.serving.stores.base import LEASE, Lease, Record, Store
from elman.serving.stores.sqlite import DURABILITIES

PREFIX = "elman:"
TIMEOUT = 3.0  # seconds for an answer of Redis
RETRIES = 1  # at once, for a connection that Redis closed; all requests wait meanwhile, so that there is no pause
WAITS = (7, 2)  # the first version that tells when its file was flushed
NUMBERS = {"position": int, "created": float, "touched": float, "ttl": float}
TEXTS = ("id", "tenant", "model", "kind", "weights")

# Redis runs a script as a whole. It ends leases and sessions by its own clock, so that those of the hosts do not count.
CREATE = """
if redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[1]) then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV, 4))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('ZADD', KEYS[2], 0, ARGV[3])
return 1
"""
ACQUIRE = """
if redis.call('HGET', KEYS[1], 'tenant') ~= ARGV[1] then return {-1} end
if redis.call('EXISTS', KEYS[2]) == 1 then return {0} end
local fence = redis.call('HINCRBY', KEYS[1], 'fence', 1)
redis.call('SET', KEYS[2], fence, 'PX', ARGV[2])
return {fence, redis.call('HGETALL', KEYS[1])}
"""
WRITE = """
if redis.call('HGET', KEYS[1], 'fence') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV, 4))
redis.call('PEXPIRE', KEYS[1], math.floor(1000 * tonumber(redis.call('HGET', KEYS[1], 'ttl'))))
if ARGV[2] == '1' then redis.call('DEL', KEYS[2]) else redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[3]) end
return 1
"""
RENEW = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""
RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end"
DELETE = """
if redis.call('HGET', KEYS[1], 'tenant') ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('ZREM', KEYS[3], ARGV[2])
return 1
"""


class RedisStore(Store):
    """Sessions in Redis, not in a cluster of it.

    Args:
        address: redis://HOST:PORT/NUMBER.
        durability: a name in `DURABILITIES`; "full" waits until Redis has flushed its append-only file.

    Raises:
        RunError: Redis does not answer.
        SettingError: it does not write what the durability promises.
    """

    atomic = False

    def __init__(self, address: str, durability: str = "process") -> None:
        look_up("durability", durability, DURABILITIES)
        try:
            self.client: Any = redis.Redis.from_url(
                address, socket_timeout=TIMEOUT, socket_connect_timeout=TIMEOUT, retry=Retry(NoBackoff(), RETRIES)
            )
            config = self.client.config_get("append*")
            version = tuple(map(int, self.client.info("server")["redis_version"].split(".")[:2]))
        except (redis.RedisError, ValueError, OSError) as error:
            raise RunError(
                "Redis does not answer", should="a running Redis", found=first_line(error), hint=f"--store {address}"
            ) from error
        lasting, always = config["appendonly"] == "yes", config["appendfsync"] == "always"
        if durability == "full" and not (lasting and (always or version >= WAITS)):
            raise SettingError(
                "Redis does not flush what it has acknowledged", should="appendonly yes, and appendfsync always",
                found=f"appendonly {config['appendonly']}, appendfsync {config['appendfsync']}",
                hint="redis-cli config set appendonly yes; redis-cli config set appendfsync always",
            )  # fmt: skip
        self.notice = "" if lasting else "Redis has appendonly no: when it stops, sessions are lost"
        self._waits = durability == "full" and not always
        self._scripts = {
            text: self.client.register_script(text) for text in (CREATE, ACQUIRE, WRITE, RENEW, RELEASE, DELETE)
        }

    def create(self, record: Record, most: int) -> None:
        """Add a session."""
        fields: list[Any] = [
            word for name in (*TEXTS, *NUMBERS, "state", "tail") for word in (name, getattr(record, name))
        ]
        keys = [_key(record.id), f"{PREFIX}sessions"]
        arguments: list[Any] = [most, int(1000 * record.ttl), _member(record.tenant, record.id), *fields, "fence", 0]
        if not self._scripts[CREATE](keys, arguments):
            raise TooBusy("there are too many sessions", should=f"at most {most:,}", found="more", hint="delete some")

    def read(self, session: str, tenant: str, now: float) -> Record:
        """Return a session."""
        fields = self.client.hgetall(_key(session))
        if not fields or fields.get(b"tenant") != tenant.encode():
            raise UnknownSession(session)
        return _record(fields)

    def acquire(self, session: str, tenant: str, owner: str, now: float) -> tuple[Record, Lease]:
        """Return a session and its lease."""
        keys = [_key(session), _lease(session)]
        arguments: list[Any] = [tenant, int(1000 * LEASE)]
        fence, *rest = self._scripts[ACQUIRE](keys, arguments)
        if fence < 0:
            raise UnknownSession(session)
        if not fence:
            raise SessionBusy("the session is busy", should="one request at a time", found="another worker has it")
        fields = dict(zip(rest[0][::2], rest[0][1::2], strict=True))
        return _record(fields), Lease(session, int(fence))

    def renew(self, lease: Lease) -> None:
        """Extend a lease."""
        _check(self._scripts[RENEW]([_lease(lease.id)], [lease.fence, int(1000 * LEASE)]))

    def write(
        self, lease: Lease, position: int, now: float, *, state: bytes | None, tail: bytes, release: bool
    ) -> None:
        """Write a session."""
        fields: list[Any] = ["position", position, "touched", now, "tail", tail]
        fields += [] if state is None else ["state", state]
        keys = [_key(lease.id), _lease(lease.id)]
        _check(self._scripts[WRITE](keys, [lease.fence, int(release), int(1000 * LEASE), *fields]))

    def release(self, lease: Lease) -> None:
        """End a lease."""
        self._scripts[RELEASE]([_lease(lease.id)], [lease.fence])

    def delete(self, session: str, tenant: str, now: float) -> None:
        """Remove a session."""
        keys = [_key(session), _lease(session), f"{PREFIX}sessions"]
        if not self._scripts[DELETE](keys, [tenant, _member(tenant, session)]):
            raise UnknownSession(session)

    def list(self, tenant: str, after: str, limit: int, now: float) -> list[Record]:
        """Return sessions in the order of their names."""
        records: list[Record] = []
        while len(records) < limit:  # names of sessions that have ended are there until the next sweep
            low = f"({_member(tenant, after)}" if after else f"[{_member(tenant, '')}"
            members = self.client.zrangebylex(f"{PREFIX}sessions", low, f"({_member(tenant, chr(127))}", 0, limit)
            names = [member.decode().rpartition(" ")[2] for member in members]
            records += self._read_facts(names)
            if len(names) < limit:
                break
            after = names[-1]
        return records[:limit]

    def _read_facts(self, names: Sequence[str]) -> Sequence[Record]:
        """Return the sessions of some names, without states; those that have ended are not there."""
        fields = [*TEXTS, *NUMBERS]
        pipeline = self.client.pipeline(transaction=False)
        for name in names:
            pipeline.hmget(_key(name), fields)
        rows = [dict(zip((field.encode() for field in fields), row, strict=True)) for row in pipeline.execute()]
        return [_record(row) for row in rows if row[b"id"] is not None]

    def expire(self, now: float) -> int:
        """Remove the names of sessions that Redis has ended."""
        removed = 0
        members = [member for member, _ in self.client.zscan_iter(f"{PREFIX}sessions", count=500)]
        for begin in range(0, len(members), 500):
            part = members[begin : begin + 500]
            pipeline = self.client.pipeline(transaction=False)
            for member in part:
                pipeline.exists(_key(member.decode().rpartition(" ")[2]))
            gone = [member for member, there in zip(part, pipeline.execute(), strict=True) if not there]
            removed += self.client.zrem(f"{PREFIX}sessions", *gone) if gone else 0
        return removed

    def count(self) -> int:
        """Return the number of sessions."""
        return int(self.client.zcard(f"{PREFIX}sessions"))

    @contextmanager
    def transaction(self, *, reads: bool = False) -> Iterator[None]:
        """Wait at the end until what was written inside is on disk, where that was promised."""
        yield
        if self._waits and not reads and not self.client.execute_command("WAITAOF", 1, 0, int(1000 * TIMEOUT))[0]:
            raise redis.RedisError("the append-only file was not flushed in time")

    def is_gone(self, error: Exception) -> bool:
        """Return whether Redis does not answer."""
        return isinstance(error, redis.ConnectionError | redis.TimeoutError | OSError)

    def close(self) -> None:
        """Close the connection."""
        self.client.close()


def _key(session: str) -> str:
    return f"{PREFIX}session:{session}"


def _lease(session: str) -> str:
    return f"{PREFIX}lease:{session}"


def _member(tenant: str, session: str) -> str:
    return f"{tenant} {session}"


def _record(fields: dict[bytes, bytes]) -> Record:
    values: dict[str, Any] = {name: fields[name.encode()].decode() for name in TEXTS}
    values |= {name: kind(fields[name.encode()]) for name, kind in NUMBERS.items()}
    return Record(**values, state=fields.get(b"state", b""), tail=fields.get(b"tail", b""))


def _check(done: Any) -> None:
    if not done:
        raise LostLease(
            "the session was taken over", should="the newest lease", found="a newer one, or a deleted session",
            hint="read the session, and continue from its position",
        )  # fmt: skip
