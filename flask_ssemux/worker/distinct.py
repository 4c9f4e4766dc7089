"""How many different names several workers have together, where one name may be at many of them.

A worker's names add up to nothing: a user has tabs, and the balancer spreads them. So each worker tells a sketch of
its names: of every name a hash of 40 bits, or, where there are more than ``KEPT``, of those whose hash begins with so
many zero bits that about as many are left (adaptive sampling: P. Flajolet, "On adaptive sampling", Computing 43, 1990).
Sketches unite. The count is exact up to ``KEPT`` names a worker, beyond that within about 5 % (1/√(KEPT / 2), one
standard deviation). A name cannot be read back from it. No I/O.
"""

from __future__ import annotations

import base64
from hashlib import blake2b
from typing import Callable, Iterable, NamedTuple, Sequence

#: Hashes in a sketch: 7 KB of text.
KEPT = 1024

#: Bytes of a hash: among so many names, two have the same one once in a million times.
_SIZE = 5

#: Names between two moments in which others may run: 1 ms of work.
TOGETHER = 1000


class Count(NamedTuple):
    """How many there are, and whether that is exact."""

    number: int
    is_exact: bool


def sketch(names: Sequence[str], breathe: Callable[[], None] = lambda: None) -> str:
    """A text that stands for these names, each of them there once.

    :param breathe: lets others run.
    """
    zeros = _zeros(len(names))
    last = _last(zeros)
    kept: list[bytes] = []
    for start in range(0, len(names), TOGETHER):
        marks = (blake2b(name.encode("utf-8"), digest_size=_SIZE).digest() for name in names[start : start + TOGETHER])
        kept += [mark for mark in marks if mark <= last]
        breathe()
    return "%d:%s" % (zeros, base64.b64encode(b"".join(sorted(kept))).decode("ascii"))


def count(sketches: Iterable[str]) -> Count:
    """How many different names these stand for."""
    most = 0
    marks: set[bytes] = set()
    for text in sketches:
        zeros, _, packed = text.partition(":")
        most = max(most, int(zeros))
        told = base64.b64decode(packed)
        marks.update(told[start : start + _SIZE] for start in range(0, len(told), _SIZE))
    last = _last(most)
    return Count(sum(mark <= last for mark in marks) << most, most == 0)


def _zeros(names: int) -> int:
    """Zero bits in front that leave ``KEPT`` of so many at most, as a rule."""
    return ((names - 1) // KEPT).bit_length() if names else 0


def _last(zeros: int) -> bytes:
    """The last hash that begins with so many zero bits."""
    return ((1 << 8 * _SIZE - zeros) - 1).to_bytes(_SIZE, "big")
