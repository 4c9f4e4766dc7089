"""Keeps two applications from sharing one store unless they say so, as one's users and events would reach the other's.

An application that has a namespace, or whose store nobody else can reach, has nothing to check. All others are compared
with the applications of this process, and with those that are registered in the store. Nothing is asked for an event:
the store is asked when it is first used, and then every ``RENEW`` seconds. No streams, no routes.
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

#: Seconds between two registrations, and between two looks after a refusal.
RENEW = REGISTRATION_SECONDS / 3
RETRY = 1.0

#: Seconds that the store may take to answer before a publisher asks it nothing more.
SLOW = 1.0

#: Hosts and mount points that are remembered of one application.
MOUNTS = 100

#: What clients are told; the log says whose store it is.
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
    def of(cls, environ: Mapping[str, Any]) -> Mount:
        host = environ.get("HTTP_HOST") or "%s:%s" % (environ.get("SERVER_NAME"), environ.get("SERVER_PORT"))
        return cls(host, environ.get("SCRIPT_NAME", ""))


class Tenancy:
    """One application's use of its store.

    :param app: the application. Its SECRET_KEY may be set later.
    :param store: the store, as ``Broker.store``; "" where nobody can share it by accident.
    :param broker: returns the application's broker.
    """

    def __init__(self, app: Flask, store: str, broker: Callable[[], Broker]) -> None:
        self._app = app
        self._store = store
        self._broker = broker
        #: Where it was reached, as far as there was another application to tell it from.
        self._mounts: set[Mount] = set()
        self._has_warned = False
        self._has_begun = False
        self.forget()

    def forget(self) -> None:
        """In the child of a fork: what the parent registered counts for the parent."""
        self._asking = threading.Lock()
        self._due = float("-inf")
        self._trouble = ""
        self._is_registered = False
        #: Since when it uses the store: the first of several may go on.
        self._since = float("inf")
        if self._has_begun:
            _living.add(self)

    def leave(self) -> None:
        """The application uses its store no longer."""
        _living.discard(self)

    def begin(self) -> None:
        """Make the application one of this process's.

        :raises ConfigurationError: another application of this process surely uses the same store.
        """
        if not self._store:
            return
        if self._find_rival(self._is_surely_not):
            gc.collect()  # applications that nobody uses any more are often kept by a cycle, as in tests
        rival = self._find_rival(self._is_surely_not)
        if rival is not None:
            raise ConfigurationError(self._describe(rival._app.name, "in this process", self._differs_by_key(rival)))
        self._has_begun = True
        _living.add(self)

    def why_not(self, environ: Mapping[str, Any]) -> str:
        """Return why the application may not serve a stream to this request; "" if it may."""
        if not self._store:
            return ""
        return self._check(Mount.of(environ), is_patient=True)

    def note_request(self, environ: Mapping[str, Any]) -> None:
        """A request reached the application: where it did tells it from others of the same name in this process."""
        if len(_living) > 1 and len(self._mounts) < MOUNTS:
            self._mounts.add(Mount.of(environ))

    def check_publishing(self) -> None:
        """Make sure that what is published now reaches this application's streams only.

        :raises ConfigurationError: another application uses the store.
        :raises BrokerUnavailable: the store does not answer.
        """
        if not self._store or (not self._trouble and time.monotonic() < self._due):
            return
        mount = Mount.of(request.environ) if has_request_context() else None
        trouble = self._check(mount, is_patient=False)
        if trouble:
            raise ConfigurationError(trouble)

    def renew(self) -> str:
        """Register again; return why the application may not use the store any more, "" if it may."""
        if not self._store:
            return ""
        self._due = float("-inf")
        return self._ask_store(is_patient=True)

    def _check(self, mount: Mount | None, is_patient: bool) -> str:
        trouble = self._compare(mount) or self._ask_store(is_patient)
        self._since = float("inf") if trouble else min(self._since, time.monotonic())
        return trouble

    # -- this process --------------------------------------------------------

    def _compare(self, mount: Mount | None) -> str:
        """Compare with the other applications of this process; return what is wrong, "" if nothing is."""
        if len(_living) <= 1:
            return ""
        rival = self._find_rival(lambda other: other._since < self._since and self._is_not(other, mount))
        if rival is not None:
            return self._describe(rival._app.name, rival._where(), self._differs_by_key(rival))
        if mount is not None and len(self._mounts) < MOUNTS:
            self._mounts.add(mount)
        return ""

    def _find_rival(self, is_rival: Callable[[Tenancy], bool]) -> Tenancy | None:
        others = [other for other in list(_living) if other is not self and other._store == self._store]
        return next(filter(is_rival, others), None)

    def _is_surely_not(self, other: Tenancy) -> bool:
        """Whether the other is another application. Tests have several of one, with keys of their own."""
        if not is_same_name(self._app.name, other._app.name):
            return True
        return self._differs_by_key(other) and not self._is_tested_with(other)

    def _is_not(self, other: Tenancy, mount: Mount | None) -> bool:
        """Whether the other, which uses the store, is another application. The first that uses it may go on.

        Two objects of one factory may be two tenants, and may be one application that was made anew. Tenants are
        reached in different places.
        """
        is_elsewhere = mount is not None and bool(other._mounts) and mount not in other._mounts
        return (is_elsewhere and not self._is_tested_with(other)) or self._is_surely_not(other)

    def _is_tested_with(self, other: Tenancy) -> bool:
        return bool(self._app.testing or other._app.testing)

    def _script_name(self) -> str:
        """Return where the application is mounted, if there are others in this process that it must be told from."""
        is_alone = self._app.testing or self._find_rival(lambda _: True) is None
        return "" if is_alone else min((mount.script_name or "/" for mount in self._mounts), default="")

    def _differs_by_key(self, other: Tenancy) -> bool:
        mine, its = self._app.secret_key, other._app.secret_key
        return bool(mine and its and mine != its)

    def _where(self) -> str:
        mounts = sorted(mount.host + mount.script_name for mount in self._mounts)[:3]
        return "in this process" + (", at %s" % ", ".join(mounts) if mounts else "")

    # -- all processes -------------------------------------------------------

    def _ask_store(self, is_patient: bool) -> str:
        """Register, if it is time to; return why the application may not use the store, "" if it may.

        :param is_patient: also where the store does not answer, in which case nobody can tell.
        """
        with self._asking:
            now = time.monotonic()
            if now >= self._due:
                self._due = now + (RENEW if self._is_registered else RETRY)
                try:
                    self._trouble = self._register()
                    self._is_registered = not self._trouble
                    self._due = now + (RENEW if self._is_registered else RETRY)
                except BrokerUnavailable:
                    if not is_patient and time.monotonic() - now > SLOW:
                        raise  # to ask it once more would only take as long again
            return self._trouble

    def _register(self) -> str:
        key, script_name = _fingerprint(self._app), self._script_name()
        others = self._broker().reports.register_application(self._app.name, key, script_name)
        rival = next((other for other in others if other.is_rival(self._app.name, script_name)), None)
        if rival is not None:
            where = ", at %s" % rival.script_name if rival.script_name else ""
            return self._describe(rival.name, "on %s%s" % (_host_of(rival), where))
        rival = next((other for other in others if other.key and key and other.key != key), None)
        if rival is not None and not self._has_warned:
            self._has_warned = True
            log.error("%s; ignore this while SECRET_KEY is being changed", self._describe(
                rival.name, "on " + _host_of(rival), True
            ))  # fmt: skip
        return ""

    def _describe(self, name: str, where: str, by_key: bool = False) -> str:
        other = "%r%s" % (name, " (which has another SECRET_KEY)" if by_key else "")
        return "the application %r uses the store %s, and so does the application %s %s; %s" % (
            self._app.name, self._store, other, where, WAYS_OUT
        )  # fmt: skip


def _fingerprint(app: Flask) -> str:
    """Return what tells two keys apart, and is too short to tell anybody who guesses which key it is.

    A test's key tells nothing.
    """
    key = app.secret_key
    if not key or app.testing:
        return ""
    secret = key.encode("utf-8") if isinstance(key, str) else bytes(key)
    return hmac.new(secret, b"flask_ssemux application", "sha256").hexdigest()[:6]


def _host_of(application: RegisteredApplication) -> str:
    """Return the name of the machine that the process runs on, without what tells it from others of that name."""
    return application.process_name.rsplit("/", 2)[0].rsplit("-", 2)[0]


#: The applications of this process that use a store without a namespace.
_living: weakref.WeakSet[Tenancy] = weakref.WeakSet()
