"""redis-py, if it is installed: it is an extra. Nothing else."""

from __future__ import annotations

from typing import Any

driver: Any = None
try:
    import redis.sentinel

    driver = redis
except ImportError:  # ``Address`` raises an error that names the extra
    pass
