"""Mutations of bytes: what a damaged, truncated or hostile file looks like."""

import random

# Numbers, words and bytes at the edges of what formats allow.
TOKENS = (
    b"0", b"-1", b"1e999", b"-1e999", b"NaN", b"Infinity", b"1e-320", b"99999999999999999999", b"4294967296",
    b"2147483647", b"null", b"true", b"[]", b"{}", b"[[[[[[[[", b'""', b'"x"', b'"\\ud800"', b"\x00", b"\xff",
    b"\xfe\xff", b"\xef\xbb\xbf", b"\xe2\x80\xae", b"\x1b]0;x\x07\x1b[2J", b"\r\n", b"\r", b"\n", b"\t", b",", b";",
    b'"', b"'", b"$\\frac$", b"%s%n", b"../../etc/passwd", b"http://127.0.0.1:9/x", b"concat:a|b", b"((",
    b"{'descr': '<f8'",
)  # fmt: skip
SIZES = (
    b"\x00" * 4,
    b"\xff" * 4,
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\x00" * 8,
    b"\xff" * 8,
    b"\xff" * 7 + b"\x7f",
)


def flip_bit(data: bytearray, rng: random.Random) -> None:
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def replace_byte(data: bytearray, rng: random.Random) -> None:
    data[rng.randrange(len(data))] = rng.randrange(256)


def truncate(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data)) :]


def delete_piece(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data))
    del data[start : start + rng.choice((1, 2, 7, 64, 1000))]


def repeat_piece(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data))
    data[start:start] = data[start : start + rng.choice((1, 8, 100))] * rng.choice((1, 3, 50))


def insert_token(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data) + 1)
    data[start:start] = rng.choice(TOKENS)


def overwrite_size(data: bytearray, rng: random.Random) -> None:
    size = rng.choice(SIZES)
    start = rng.randrange(len(data))
    data[start : start + len(size)] = size


def replace_number(data: bytearray, rng: random.Random) -> None:
    """Replace one run of digits, signs and points by a token."""
    start = rng.randrange(len(data))
    while start < len(data) and data[start : start + 1] not in b"0123456789":
        start += 1
    end = start
    while end < len(data) and data[end : end + 1] in b"0123456789.+-eE":
        end += 1
    data[start:end] = rng.choice(TOKENS)


MUTATIONS = (
    flip_bit, replace_byte, truncate, delete_piece, repeat_piece, insert_token, overwrite_size, replace_number,
)  # fmt: skip


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Return `data` after one to four mutations; now and then it is empty."""
    if rng.random() < 0.01:
        return b""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        rng.choice(MUTATIONS if changed else (insert_token,))(changed, rng)
    return bytes(changed)
