"""The scripts of ``lua/``, which make every change to the keys. ``prelude.lua`` is the beginning of each."""

from __future__ import annotations

import hashlib
from pathlib import Path

_FOLDER = Path(__file__).parent / "lua"


class Script:
    """A script by its text; after the first call the server knows it by its hash."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.hash = hashlib.sha1(text.encode()).hexdigest()  # EVALSHA's; nothing secret


def _load_script(*parts: str) -> Script:
    return Script("\n".join((_FOLDER / (part + ".lua")).read_text() for part in ("prelude", *parts)))


APPEND_EVENTS, APPEND_WORK = (
    _load_script(*parts, "append_events") for parts in (("all_events",), ("work", "held_events"))
)
LIST_NEWS, GET_FIGURES = map(_load_script, ("list_news", "get_figures"))
TAKE_WORK, KEEP_WORK, RELEASE_WORK = (_load_script("work", name) for name in ("take_work", "keep_work", "release_work"))
PLAN_RUN, BEGIN_RUN, READ_RUNS, LIST_RUNNING, CANCEL_RUN = (
    _load_script("work", name) for name in ("plan_run", "begin_run", "read_runs", "list_running", "cancel_run")
)
TAKE_SLOT, SET_SLOTS, SHARE_SLOTS, REGAIN_SLOTS = (
    _load_script("user_slots", name) for name in ("take_slot", "set_slots", "share_slots", "regain_slots")
)
ANNOUNCE_OLDEST, LIST_HOLDERS = map(_load_script, ("announce_oldest", "list_holders"))
ANNOUNCE_PRESENCE, GET_PRESENCE = map(_load_script, ("announce_presence", "get_presence"))
UPDATE_ROSTER, GET_ROSTER = map(_load_script, ("update_roster", "get_roster"))
WRITE_REPORT, READ_REPORTS, REGISTER_APPLICATION, USE_KEY = map(
    _load_script, ("write_report", "read_reports", "register_application", "use_key")
)
#: For clients that return: what is over a limit of the history is not read.
GET_NEWEST, READ_CHANNELS, GET_FLOORS = (
    _load_script("history_floors", name) for name in ("get_newest", "read_channels", "get_floors")
)
#: For delivery to clients that were connected: everything that is kept is read.
READ_LIVE = _load_script("live_floors", "read_channels")
