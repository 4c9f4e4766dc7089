"""Finds the package's logger, and keeps it enabled.

``logging.config.dictConfig`` and ``fileConfig`` disable every logger that exists and that the configuration does not
name, unless ``disable_existing_loggers`` is false. Applications call them after their imports, so the warnings that say
why streams end would vanish, and so would the errors. Whoever wants fewer lines sets the logger's level: that is not
touched here.
"""

from __future__ import annotations

import logging

log = logging.getLogger("flask_ssemux")

_was_disabled = False


def enable_logger() -> None:
    """Enable the logger again if it was disabled. Say so, once in a process, in the log."""
    global _was_disabled
    if not log.disabled:
        return
    log.disabled = False
    if not _was_disabled:
        _was_disabled = True
        log.warning(
            "the logger 'flask_ssemux' was disabled, as logging.config does with all loggers that it is not given, and "
            "is enabled again, because it says why streams end: configure logging with "
            "'disable_existing_loggers': False, and set this logger's level if you want fewer lines"
        )


def was_disabled() -> bool:
    """Return whether the logger was found disabled in this process."""
    return _was_disabled
