"""Keeps two applications from sharing one store by accident: one's users and events would reach the other's.

An application that has a namespace, or whose store no other process can reach, is not checked. All others are compared
with the applications of this process, and with those that are registered in the store. The store is not asked for each
event, but when the application first uses it, and then every ``RENEW_INTERVAL`` seconds. No streams, no routes.
"""

from __future__ import annotations

import gc
import hmac
import threading
import time
import weakref
from typing import Any, Callable, Mapping, NamedTuple

from flask import Flask, has_request_context, request

from ..brokers import REGISTRATION_SECONDS, Broker, RegisteredApplication, is_same_name
from ..errors import BrokerUnavailable, ConfigurationError
from ..options import log
from ..util import forks
from ..util.made_when_used import MadeWhenUsed, forget

#: Seconds between two registrations, and between two attempts after a refusal.
RENEW_INTERVAL = REGISTRATION_SECONDS / 3
RETRY_INTERVAL = 1.0

#: If a request to the store takes more seconds than this to fail, a publisher does not ask the store again.
SLOW = 1.0

#: The maximum number of hosts and mount points that are remembered of one application.
MOUNTS = 100

#: What clients read. The log names the other application.
SHORT = "another application uses this store, and neither says that they share it"

WAYS_OUT = (
    "what one of them sends to its users and to everyone would reach the other's: set SSEMUX_NAMESPACE to a different "
    "name in each of them, or to the same name in both to share on purpose"
)


class Mount(NamedTuple):
    """Where a request reached an application."""

    host: str
    script_name: str

    @classmethod
    def of_request(cls, environ: Mapping[str, Any]) -> Mount:
        host = environ.get("HTTP_HOST") or "%s:%s" % (environ.get("SERVER_NAME"), environ.get("SERVER_PORT"))
        return cls(host, environ.get("SCRIPT_NAME", ""))


class StoreGuard:
    """Watches over one application's use of its store.

    :param app: the application. Its SECRET_KEY may be set later.
    :param store: the name of the store; "" if no other application can use it by accident.
    :param get_broker: returns the application's broker.
    """

    _asking = MadeWhenUsed(lambda guard: threading.Lock())

    def __init__(self, app: Flask, store: str, get_broker: Callable[[], Broker]) -> None:
        self._app = app
        self._store = store
        self._get_broker = get_broker
        #: Where requests reached the application, if there was another application that it must be distinguished from.
        self._mounts: set[Mount] = set()
        self._has_warned = False
        self._is_added = False
        self._forget_registration()
        forks.register_owner(self)

    def _forget_registration(self) -> None:
        forget(self, "_asking")
        self._due = float("-inf")
        self._trouble = ""
        self._is_registered = False
        #: Since when the application uses the store: the first one of several may go on.
        self._since = float("inf")

    def disown(self) -> None:
        """In a forked child: the registration is the parent's, and the application is one of this process, too."""
        self._forget_registration()
        if self._is_added:
            _living.add(self)

    def add_to_process(self) -> None:
        """Make the application one of this process's.

        :raises ConfigurationError: another application of this process surely uses the same store.
        """
        if not self._store:
            return
        if self._find_rival(self._is_surely_another):
            gc.collect()  # applications that are no longer used are often kept by a cycle, as in tests
        rival = self._find_rival(self._is_surely_another)
        if rival is not None:
            raise ConfigurationError(self._describe(rival._app.name, "in this process", self._differs_by_key(rival)))
        self._is_added = True
        _living.add(self)

    def remove_from_process(self) -> None:
        """Note that the application no longer uses its store."""
        _living.discard(self)

    def why_not(self, environ: Mapping[str, Any]) -> str:
        """Return why the application may not serve a stream to this request; "" if it may."""
        if not self._store:
            return ""
        return self._check(Mount.of_request(environ), is_patient=True)

    def note_request(self, environ: Mapping[str, Any]) -> None:
        """Note where a request reached the application.

        This distinguishes applications with the same name in one process.
        """
        if len(_living) > 1 and len(self._mounts) < MOUNTS:
            self._mounts.add(Mount.of_request(environ))

    def check_publishing(self) -> None:
        """Make sure that an event that is published now reaches only this application's streams.

        :raises ConfigurationError: another application uses the store.
        :raises BrokerUnavailable: the store does not answer.
        """
        if not self._store or (not self._trouble and time.monotonic() < self._due):
            return
        mount = Mount.of_request(request.environ) if has_request_context() else None
        trouble = self._check(mount, is_patient=False)
        if trouble:
            raise ConfigurationError(trouble)

    def renew_registration(self) -> str:
        """Register again. Return why the application may not use the store any more; "" if it may."""
        if not self._store:
            return ""
        self._due = float("-inf")
        return self._ask_store(is_patient=True)

    def _check(self, mount: Mount | None, is_patient: bool) -> str:
        trouble = self._compare_in_process(mount) or self._ask_store(is_patient)
        self._since = float("inf") if trouble else min(self._since, time.monotonic())
        return trouble

    # -- this process --------------------------------------------------------

    def _compare_in_process(self, mount: Mount | None) -> str:
        """Compare with the other applications of this process. Return what is wrong, "" if nothing is."""
        if len(_living) <= 1:
            return ""
        rival = self._find_rival(lambda other: other._since < self._since and self._is_another(other, mount))
        if rival is not None:
            return self._describe(rival._app.name, rival._describe_mounts(), self._differs_by_key(rival))
        if mount is not None and len(self._mounts) < MOUNTS:
            self._mounts.add(mount)
        return ""

    def _find_rival(self, is_rival: Callable[[StoreGuard], bool]) -> StoreGuard | None:
        others = [other for other in list(_living) if other is not self and other._store == self._store]
        return next(filter(is_rival, others), None)

    def _is_surely_another(self, other: StoreGuard) -> bool:
        """Return whether the other is another application. Tests have several objects of one, with different keys."""
        if not is_same_name(self._app.name, other._app.name):
            return True
        return self._differs_by_key(other) and not self._is_tested_with(other)

    def _is_another(self, other: StoreGuard, mount: Mount | None) -> bool:
        """Return whether the other, which uses the store, is another application.

        Two objects from one factory are either two tenants or one application that was created twice. Tenants are
        reached at different mount points.
        """
        is_elsewhere = mount is not None and bool(other._mounts) and mount not in other._mounts
        return (is_elsewhere and not self._is_tested_with(other)) or self._is_surely_another(other)

    def _is_tested_with(self, other: StoreGuard) -> bool:
        return bool(self._app.testing or other._app.testing)

    def _get_script_name(self) -> str:
        """Return where the application is mounted, if it must be distinguished from others in this process."""
        is_alone = self._app.testing or self._find_rival(lambda _: True) is None
        return "" if is_alone else min((mount.script_name or "/" for mount in self._mounts), default="")

    def _differs_by_key(self, other: StoreGuard) -> bool:
        mine, its = self._app.secret_key, other._app.secret_key
        return bool(mine and its and mine != its)

    def _describe_mounts(self) -> str:
        mounts = sorted(mount.host + mount.script_name for mount in self._mounts)[:3]
        return "in this process" + (", at %s" % ", ".join(mounts) if mounts else "")

    # -- all processes -------------------------------------------------------

    def _ask_store(self, is_patient: bool) -> str:
        """Register, if it is time to. Return why the application may not use the store, "" if it may.

        :param is_patient: return "" also if the store does not answer, however long that took.
        """
        with self._asking:
            now = time.monotonic()
            if now >= self._due:
                self._due = now + (RENEW_INTERVAL if self._is_registered else RETRY_INTERVAL)
                try:
                    self._trouble = self._register()
                    self._is_registered = not self._trouble
                    self._due = now + (RENEW_INTERVAL if self._is_registered else RETRY_INTERVAL)
                except BrokerUnavailable:
                    if not is_patient and time.monotonic() - now > SLOW:
                        raise  # the publisher's next call would only take as long again
            return self._trouble

    def _register(self) -> str:
        key, script_name = _make_fingerprint(self._app), self._get_script_name()
        others = self._get_broker().reports.register_application(self._app.name, key, script_name)
        rival = next((other for other in others if other.is_rival(self._app.name, script_name)), None)
        if rival is not None:
            where = ", at %s" % rival.script_name if rival.script_name else ""
            return self._describe(rival.name, "on %s%s" % (_get_host(rival), where))
        rival = next((other for other in others if other.key and key and other.key != key), None)
        if rival is not None and not self._has_warned:
            self._has_warned = True
            log.error("%s; ignore this while SECRET_KEY is being changed", self._describe(
                rival.name, "on " + _get_host(rival), True
            ))  # fmt: skip
        return ""

    def _describe(self, name: str, where: str, by_key: bool = False) -> str:
        other = "%r%s" % (name, " (which has another SECRET_KEY)" if by_key else "")
        return "the application %r uses the store %s, and so does the application %s %s; %s" % (
            self._app.name, self._store, other, where, WAYS_OUT
        )  # fmt: skip


def _make_fingerprint(app: Flask) -> str:
    """Return a text that differs for different keys and is too short to find the key by guessing.

    It is empty in a test, whose key has no meaning.
    """
    key = app.secret_key
    if not key or app.testing:
        return ""
    secret = key.encode("utf-8") if isinstance(key, str) else bytes(key)
    return hmac.new(secret, b"flask_ssemux application", "sha256").hexdigest()[:6]


def _get_host(application: RegisteredApplication) -> str:
    """Return the name of the machine of an application's process, without what tells machines of one name apart."""
    return application.process_name.rsplit("/", 2)[0].rsplit("-", 2)[0]


#: The applications of this process that use a store without a namespace.
_living: weakref.WeakSet[StoreGuard] = weakref.WeakSet()
