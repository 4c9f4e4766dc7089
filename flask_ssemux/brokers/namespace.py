"""Adds ``SSEMUX_NAMESPACE`` to a file's name or a prefix of keys: each namespace is a store of its own. Only text."""

from __future__ import annotations

import os
import re

#: The form of a namespace: it becomes part of a file's name, and of keys in Redis.
ALLOWED = "1 to 64 letters, digits, dots, hyphens and underscores, the first of them a letter or a digit"
_ALLOWED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

#: The prefix of keys in Redis where the URL has no ``?prefix=``.
PREFIX = "ssemux"


def check_namespace(value: object) -> str:
    """Return the namespace.

    :raises ValueError: it is not a valid namespace.
    """
    if not isinstance(value, str) or not _ALLOWED.fullmatch(value):
        raise ValueError("a namespace is %s" % ALLOWED)
    return value


def add_to_path(path: str, namespace: str | None) -> str:
    """Return the file of a namespace: ``ssemux.sqlite3`` becomes ``ssemux-shop.sqlite3``.

    A path that has the namespace in its name already stays, so that the path that ``flask ssemux status`` shows can be
    used together with the namespace.
    """
    root, extension = os.path.splitext(path)
    if not namespace or os.path.basename(root).endswith("-" + namespace):
        return path
    return "%s-%s%s" % (root, namespace, extension)


def add_to_prefix(prefix: str, namespace: str | None) -> str:
    """Return the prefix of a namespace's keys in Redis: ``ssemux`` becomes ``ssemux:shop``."""
    return "%s:%s" % (prefix, namespace) if namespace else prefix
