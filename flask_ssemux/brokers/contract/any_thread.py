"""Makes a contract's methods callable from any thread and any greenlet of the process. Nothing about events."""

from __future__ import annotations

import functools
from abc import ABC
from typing import Any, Callable, ClassVar

from ...errors import BrokerUnavailable
from ...util import forks, threads
from . import constants


class AnyThread(ABC):  # noqa: B024  (what is abstract is in the contracts)
    """The base of the contracts. Engines derive from a contract, and do nothing about threads and forks themselves.

    A class that derives from it directly is a contract. When an engine defines one of a contract's public methods, that
    method is wrapped here: a call from a thread beside gevent's loop is carried out in the loop, and a copy of a
    greenlet in a forked child never returns from a call.
    """

    #: Methods of a contract that are called in the loop's thread, or wait for nothing, and are not wrapped.
    unwrapped: ClassVar[frozenset[str]] = frozenset()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if AnyThread not in cls.__bases__:
            for name, member in list(vars(cls).items()):
                if _is_promised(cls, name) and callable(member):
                    setattr(cls, name, _wrap(member))


def _is_promised(engine: type[AnyThread], name: str) -> bool:
    """Return whether a contract of this engine has a public method of this name that must be wrapped."""
    contracts = [base for base in engine.__mro__ if issubclass(base, AnyThread) and AnyThread in base.__bases__]
    return not name.startswith("_") and any(
        name in vars(contract) and name not in contract.unwrapped for contract in contracts
    )


def _wrap(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
        if threads.loop_thread is not None and threads.loop_thread != threads.get_ident():
            return call_from_any_thread(functools.partial(method, self, *args, **kwargs))
        born = forks.generation
        try:
            return method(self, *args, **kwargs)
        finally:
            if born != forks.generation:
                forks.halt_copy(born)

    return wrapped


def call_from_any_thread(call: Callable[[], Any]) -> Any:
    """Make this call in the thread that may use locks and connections: in gevent's loop, if the caller is beside it.

    :raises BrokerUnavailable: the loop did not make the call in time.
    """
    if threads.may_use_loop():
        return call()
    begin, end = constants.WAIT_SECONDS, 2 * constants.WAIT_SECONDS + 1.0
    try:
        return threads.call_in_loop(call, begin, end)
    except threads.CallNotBegun:
        raise BrokerUnavailable(
            "a thread beside gevent's loop called, and the loop, which makes the call, was blocked for %g s; nothing "
            "was done: docs/blocking.md says how to find what blocks it" % begin
        ) from None
    except threads.CallNotEnded:
        raise BrokerUnavailable(
            "a thread beside gevent's loop called, and the loop, which makes the call, did not answer in %g s; it is "
            "not known whether the call was carried out: docs/blocking.md says how to find what blocks it" % end
        ) from None
