"""What the store keeps of a run, as JSON: its owner, and what a resume function needs; and what its readers get.

Only values and their form. No store.
"""

from __future__ import annotations

import json
import secrets
from typing import Any, NamedTuple

from ..brokers import NewEvent, WorkBatch, WorkLease
from ..errors import ApplicationError
from ..sse import encode
from ..sse.data import JSONWriter, convert_to_text
from ..util.printable import show_value

#: The states with which a run ends.
DONE, FAILED, CANCELLED, LOST = "done", "failed", "cancelled", "lost"
END_STATES = (DONE, FAILED, CANCELLED, LOST)

#: The maximum size of a run's ``data`` in bytes: each reader that opens a stream reads it.
DATA_BYTES = 64 * 1024

#: Bytes of randomness in a run's id: 136 bits in ``encode.RUN_ID_LENGTH`` characters.
_ID_BYTES = 17


class RunEvent(NamedTuple):
    """An event of a run, as its readers got it.

    :param event: its name; "message" if it has none.
    :param data: the text.
    :param id: the cursor.
    """

    event: str
    data: str
    id: str


class RunDetails(NamedTuple):
    """What the store keeps of a run, besides its state.

    :param owner: the user's id as text; None: whoever knows the run's id may read it.
    :param resume: the name of the function that goes on with the run; None if there is none.
    :param data: the application's, for that function.
    """

    owner: str | None
    resume: str | None = None
    data: Any = None

    def to_json(self, writer: JSONWriter) -> str:
        """
        :raises InvalidEvent: ``data`` cannot be expressed in JSON.
        :raises ApplicationError: ``data`` is too large.
        """
        data = None if self.data is None else convert_to_text([self.data], writer)
        if data is not None and len(data) > DATA_BYTES:
            raise ApplicationError(
                "the data of a run has at most %d bytes as JSON; this has %d: keep it in your database, and pass its "
                "key" % (DATA_BYTES, len(data))
            )
        return json.dumps({"owner": self.owner, "resume": self.resume, "data": data})

    @classmethod
    def from_json(cls, text: str) -> RunDetails:
        """Read what ``to_json`` made. Fields that a later version adds are ignored."""
        found = json.loads(text)
        data = found.get("data")
        return cls(found.get("owner"), found.get("resume"), None if data is None else json.loads(data)[0])


def make_run_id() -> str:
    """Return the id of a new run, which nobody can guess."""
    return secrets.token_urlsafe(_ID_BYTES)


def make_end_body(state: str, error: str | None = None) -> bytes:
    """Return the last event of a run, as brokers keep it.

    :param error: the reason that readers get.
    """
    return encode.make_own_frame("run", {"state": state} if error is None else {"state": state, "error": error})


def read_reason(error: Exception) -> str | None:
    """Return the text of an error for a run's readers, as far as UTF-8 can encode it; None if the error has no text."""
    try:
        return str(error).encode("utf-8", "replace").decode("utf-8")
    except Exception:
        return None


def make_end_batch(lease: WorkLease, state: str) -> WorkBatch:
    """Return the batch that ends a run which no process executes."""
    return WorkBatch(lease, [NewEvent(lease.name, make_end_body(state))], state)


def check_owner(owner: object) -> str | None:
    """Return the owner's id as text.

    :raises InvalidEvent: it is not a user's id.
    """
    return None if owner is None else encode.check_user_id(owner)


def check_source(source: Any) -> Any:
    """Return what a run yields from.

    :raises ApplicationError: it cannot be iterated over.
    """
    if callable(source) and not hasattr(source, "__next__"):
        advice = "call it: start_run(%s(...))" % getattr(source, "__name__", "generate")
    elif hasattr(source, "__aiter__") or hasattr(source, "__await__"):
        advice = "use a generator that is not async: under gevent it may wait as long as it needs"
    elif isinstance(source, (str, bytes, dict)) or not hasattr(source, "__iter__"):
        advice = "yield its events from a generator function"
    else:
        return source
    raise ApplicationError("start_run takes a generator, not %s; %s" % (show_value(source), advice))
