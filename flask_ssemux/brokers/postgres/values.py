"""Converts values for PostgreSQL and back, in its binary format. No connection, no SQL.

The type of a parameter is what the called function declares, so a statement names no types. Only the types that the
functions in ``sql`` use are known here.
"""

from __future__ import annotations

import struct
from typing import Any, Callable, Iterable, Sequence

#: The numbers of types in PostgreSQL's catalog.
BOOL, BYTEA, INT8, INT4, TEXT, FLOAT8, INT4S, TEXTS, INT8S = 16, 17, 20, 23, 25, 701, 1007, 1009, 1016

_HEADER = struct.Struct(">iiiii")
_LENGTH = struct.Struct(">i")
_INT4, _INT8, _FLOAT8 = struct.Struct(">i"), struct.Struct(">q"), struct.Struct(">d")


def encode_value(value: Any) -> tuple[bytes | None, int]:
    """Return a parameter and its format: 1 is binary. Text is sent in it too: the server refuses a NUL in it."""
    if value is None or isinstance(value, bytes):  # also an array that one of the functions below has packed
        return value, 1
    if isinstance(value, str):
        return value.encode("utf-8"), 1
    if isinstance(value, bool):
        return b"t" if value else b"f", 0
    return repr(value).encode("ascii"), 0


def pack_texts(values: Iterable[str | None]) -> bytes:
    """Return an array of texts."""
    return _pack_array(TEXT, [None if value is None else value.encode("utf-8") for value in values])


def pack_bodies(values: Iterable[bytes]) -> bytes:
    """Return an array of byte strings."""
    return _pack_array(BYTEA, list(values))


def pack_integers(values: Iterable[int]) -> bytes:
    """Return an array of 32-bit integers."""
    return _pack_array(INT4, [_INT4.pack(value) for value in values])


def pack_sequences(values: Iterable[int]) -> bytes:
    """Return an array of 64-bit integers."""
    return _pack_array(INT8, [_INT8.pack(value) for value in values])


def pack_seconds(values: Iterable[float]) -> bytes:
    """Return an array of floating-point numbers."""
    return _pack_array(FLOAT8, [_FLOAT8.pack(value) for value in values])


def _pack_array(kind: int, values: Sequence[bytes | None]) -> bytes:
    if not values:
        return struct.pack(">iii", 0, 0, kind)
    parts = [_HEADER.pack(1, None in values, kind, len(values), 1)]
    for value in values:
        if value is None:
            parts.append(_LENGTH.pack(-1))
        else:
            parts += (_LENGTH.pack(len(value)), value)
    return b"".join(parts)


def _unpack_array(decode: Callable[[bytes], Any]) -> Callable[[bytes], list[Any]]:
    def unpack(data: bytes) -> list[Any]:
        if len(data) < _HEADER.size:
            return []
        (count, at), found = (_HEADER.unpack_from(data)[3], _HEADER.size), []
        for _ in range(count):
            (length,) = _LENGTH.unpack_from(data, at)
            at += _LENGTH.size
            found.append(None if length < 0 else decode(data[at : at + length]))
            at += max(0, length)
        return found

    return unpack


def _decode_text(data: bytes) -> str:
    return data.decode("utf-8")


def _decode_integer(data: bytes) -> int:
    return int.from_bytes(data, "big", signed=True)


_DECODERS: dict[int, Callable[[bytes], Any]] = {
    BOOL: lambda data: data == b"\1",
    BYTEA: bytes,
    INT4: _decode_integer,
    INT8: _decode_integer,
    TEXT: _decode_text,
    FLOAT8: lambda data: _FLOAT8.unpack(data)[0],
    TEXTS: _unpack_array(_decode_text),
    INT4S: _unpack_array(_decode_integer),
    INT8S: _unpack_array(_decode_integer),
}


def decode_rows(result: Any) -> list[tuple[Any, ...]]:
    """Return the rows of a result of libpq in binary format."""
    columns = range(result.nfields)
    decoders = [_DECODERS.get(result.ftype(column), bytes) for column in columns]
    return [tuple(_decode(result.get_value(row, it), decoders[it]) for it in columns) for row in range(result.ntuples)]


def _decode(data: Any, decode: Callable[[bytes], Any]) -> Any:
    return None if data is None else decode(bytes(data))
