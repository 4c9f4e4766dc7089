"""Counts how many different names several workers have together, if several workers may have the same name.

The workers' own counts cannot be added: a user has several tabs, and the load balancer spreads them. So each worker
reports a sketch of its names: a hash of 40 bits for each name. If there are more than ``KEPT`` names, the sketch has
only the hashes that begin with a number of zero bits, so many that about ``KEPT`` are left (adaptive sampling: P.
Flajolet, "On adaptive sampling", Computing 43, 1990). Sketches can be united. The count is exact up to ``KEPT`` names
a worker, and accurate to about 5 % beyond that (1/√(KEPT / 2), one standard deviation). The names cannot be read back
from a sketch. There is no I/O here.
"""

from __future__ import annotations

import base64
from hashlib import blake2b
from typing import Callable, Iterable, NamedTuple, Sequence

#: The number of hashes in a sketch: 7 KB of text.
KEPT = 1024

#: The bytes of a hash. The probability that two of ``KEPT`` names have the same hash is one in a million.
_SIZE = 5

#: Names that are hashed before other work may run: 1 ms of work.
TOGETHER = 1000


class Count(NamedTuple):
    """A number of names, and whether it is exact."""

    number: int
    is_exact: bool


def make_sketch(names: Sequence[str], yield_control: Callable[[], None] = lambda: None) -> str:
    """Return a sketch of these names as text. Each name occurs once.

    :param yield_control: lets other work run.
    """
    zeros = _count_zero_bits(len(names))
    last = _find_last_hash(zeros)
    kept: list[bytes] = []
    for start in range(0, len(names), TOGETHER):
        marks = (blake2b(name.encode("utf-8"), digest_size=_SIZE).digest() for name in names[start : start + TOGETHER])
        kept += [mark for mark in marks if mark <= last]
        yield_control()
    return "%d:%s" % (zeros, base64.b64encode(b"".join(sorted(kept))).decode("ascii"))


def count_names(sketches: Iterable[str]) -> Count:
    """Return how many different names the sketches have together."""
    most = 0
    marks: set[bytes] = set()
    for text in sketches:
        zeros, _, packed = text.partition(":")
        most = max(most, int(zeros))
        hashes = base64.b64decode(packed)
        marks.update(hashes[start : start + _SIZE] for start in range(0, len(hashes), _SIZE))
    last = _find_last_hash(most)
    return Count(sum(mark <= last for mark in marks) << most, most == 0)


def _count_zero_bits(names: int) -> int:
    """Return how many leading zero bits a hash must have so that about ``KEPT`` of this many names are left."""
    return ((names - 1) // KEPT).bit_length() if names else 0


def _find_last_hash(zeros: int) -> bytes:
    """Return the largest hash that begins with this many zero bits."""
    return ((1 << 8 * _SIZE - zeros) - 1).to_bytes(_SIZE, "big")
