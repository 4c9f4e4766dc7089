"""Whether a process of this machine exists, by its ID."""

from __future__ import annotations

import os


def exists_process(process_id: int) -> bool:
    """Return whether a process has this ID now. Not for Windows: there, ``os.kill`` ends any process, also with 0."""
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # another user's
    return True
