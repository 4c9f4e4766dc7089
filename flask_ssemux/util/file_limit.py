"""How many files a process may have open, as far as the system says."""

from __future__ import annotations

try:
    import resource
except ImportError:  # Windows has no such limit
    resource = None  # type: ignore[assignment]

#: Returned for a process without a limit.
UNLIMITED = 1_000_000


def get_file_limit() -> int:
    """Return the number of files that this process may have open."""
    if resource is None:
        return UNLIMITED
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return UNLIMITED if limit == resource.RLIM_INFINITY else limit
