"""The runs of a ``Publisher``: of a process that executes generators, and has neither an application nor streams."""

from __future__ import annotations

import os
from contextlib import nullcontext
from typing import Any, Callable

from ..brokers import Broker
from ..errors import ApplicationError
from ..options import read_option
from ..runs.environment import RunEnvironment
from ..runs.host import RunHost
from ..runs.parts import WorkParts
from ..runs.resume import ResumeFunctions
from ..runs.room import RunRoom
from ..runs.task import MakeBody
from ..sse.data import JSONWriter
from ..tracing.tracing import Tracing
from .revocation import ask_for_slots


def make_run_host(
    get_broker: Callable[[], Broker], make_body: MakeBody, get_json_writer: Callable[[], JSONWriter], tracing: Tracing
) -> RunHost:
    """Return the runs of a process without an application. The limits are those of the environment."""
    room = RunRoom(
        get_broker,
        read_option("max_runs", os.environ),
        read_option("max_runs_per_owner", os.environ),
        ask_for_slots,
    )
    environment = RunEnvironment(get_broker, make_body, get_json_writer, nullcontext, _refuse, _refuse, tracing=tracing)
    return RunHost(environment, WorkParts(get_broker), room, ResumeFunctions())


def _refuse(*_: object) -> Any:
    raise ApplicationError(
        "a Publisher has no application, so its runs have neither a URL nor a response: pass the run's id to the "
        "application, and use flask_ssemux.get_run(id) there"
    )
