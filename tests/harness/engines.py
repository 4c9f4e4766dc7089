"""The engines that the suites run over.

``pytest.mark.engines("sqlite", "postgres")`` marks a test, or all tests of a module: they run over these engines. With
``--engines all`` they run over each engine of `SHARED`, or of the mark's ``within``, and with
``--engines postgres,cluster`` over those of them. The fixtures ``broker_url`` and ``instance_env`` give the test's
servers an empty store of the engine, and ``own_store`` one that the test may break. A test without the mark runs over
SQLite, the default.
"""

from __future__ import annotations

from typing import Any

import pytest

#: The engines that several processes can share.
SHARED = ("sqlite", "redis", "postgres", "cluster")

#: All of them: the tests of one worker alone run over the memory engine, too.
ALL = ("memory", *SHARED)


def choose_engines(mark: Any, wanted: str) -> list[str]:
    """Return the engines over which a marked test runs.

    :param wanted: the value of ``--engines``.
    """
    if wanted == "some":
        return list(mark.args)
    possible, names = mark.kwargs.get("within", SHARED), wanted.split(",")
    for name in names:
        if name not in ("all", *ALL):
            raise pytest.UsageError("--engines: %r is none of some, all, %s" % (name, ", ".join(ALL)))
    return [name for name in possible if wanted == "all" or name in names]
