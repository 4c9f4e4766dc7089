"""Checks the application's store. It makes no file: a file that this command made would belong to its user."""

from __future__ import annotations

import os
import time

from ..brokers import Broker
from ..brokers.sqlite.obstacle import Obstacle, Place, describe_file, describe_user, get_owner, get_user
from ..errors import BrokerError
from ..state import ApplicationState
from ..util.redact import without_password
from .report import FAIL, OK, WARN, Advice, Check

#: Why a check by root says little about another user.
AS_ROOT = (
    "This was checked as root, who may use every file. If the application runs as another user, run the doctor as that "
    "user."
)


def check_broker(state: ApplicationState, server_user: int | None = None) -> Check:
    """Check that the store can be reached, or made.

    :param server_user: the number of the user as whom gunicorn's configuration runs the workers; None if unknown.
    """
    url = state.options.broker
    if url.startswith("memory:"):
        said = (
            "memory: works in one process only: no other workers, no `flask ssemux publish`, no history after a restart"
        )
        fix = Advice("For everything but tests and small trials:", ("SSEMUX_BROKER = 'sqlite:'",))
        return Check("broker", WARN, said, (fix,))
    return check_store(state.open_look(), without_password(url), server_user)


def check_store(broker: Broker, shown: str, server_user: int | None = None) -> Check:
    """Check a store by a broker that only reads, and close the broker.

    :param shown: the store's URL, without passwords.
    :param server_user: see ``check_broker``.
    """
    try:
        path = getattr(broker, "path", None)
        return _ask_store(broker, shown) if path is None else _check_file(broker, path, shown, server_user)
    except BrokerError as error:
        text = "Until it can be reached, clients are told to come back later."
        return Check("broker", FAIL, "%s cannot be reached: %s" % (shown, error), (Advice(text),))
    finally:
        broker.close()


def _check_file(broker: Broker, path: str, shown: str, server_user: int | None) -> Check:
    user = _choose_user(path, server_user)
    obstacle = Place(path, user=user).find_obstacle()
    if obstacle is not None:
        return _describe_obstacle(path, shown, obstacle)
    if broker.find_missing_file() is not None:
        advice = (Advice(AS_ROOT),) if user == 0 else ()
        return Check("broker", OK, "%s is created by the first stream or event" % path, advice)
    return _check_owner(path, user, _ask_store(broker, shown))


def _choose_user(path: str, server_user: int | None) -> int:
    """Return the user whose rights are checked. For root this is the server's user or, if unknown, the file's owner."""
    if get_user() != 0:
        return get_user()
    return server_user if server_user is not None else get_owner(path)


def _ask_store(broker: Broker, shown: str) -> Check:
    began = time.monotonic()
    broker.history.get_newest_cursor()
    seconds = time.monotonic() - began
    measured = {"broker": shown, "seconds": round(seconds, 4)}
    return Check("broker", OK, "%s answered in %.0f ms" % (shown, seconds * 1000), (), measured)


def _describe_obstacle(path: str, shown: str, obstacle: Obstacle) -> Check:
    subject = "%s cannot be used" % shown if os.path.exists(path) else "%s cannot be created" % path
    text = "This mends it; if the application runs as another user, run the doctor as that user:"
    return Check("broker", FAIL, "%s: %s" % (subject, obstacle.said), (Advice(text, (obstacle.mend,)),))


def _check_owner(path: str, user: int, check: Check) -> Check:
    """Add what follows from the owner of a file that can be used."""
    if user == 0:
        return check._replace(advice=(Advice(AS_ROOT),))
    if get_owner(path) == user:
        return check
    said = "%s belongs to another user than %s, who may use it now" % (describe_file(path), describe_user(user))
    text = "Run the doctor, and everything that publishes, as the user who runs the application."
    return check._replace(status=WARN, said=said, advice=(Advice(text),))
