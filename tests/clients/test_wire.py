"""What the clients of other packages read on the wire: the events, each once, and no other message and no error.

All clients run at the same time (``programs.py``), and each test looks at one of them.
"""

from __future__ import annotations

import json
import signal
from contextlib import ExitStack
from urllib.request import urlopen

import pytest

from tests.clients.programs import CLIENTS, OURS, SLOW, Programs, Reader
from tests.harness.client import RawStream
from tests.harness.cutting import EVENT, CuttingHop
from tests.harness.servers import Gunicorn
from tests.server.conftest import Site

APP = "tests.apps.wire:create_app()"

ENV = {"SSEMUX_HEARTBEAT": "0.25", "SSEMUX_CLIENT_TIMEOUT": "60", "SSEMUX_RETRY": "20"}

#: For clients that mind empty lines and unknown fields.
PLAIN = {"SSEMUX_HEARTBEAT_FORM": "line", "SSEMUX_CHANNEL_FORM": "comment"}

ASKED = "&channel_form=comment"


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """start(**env): the application on gunicorn, for all tests of this module."""
    with ExitStack() as stack:

        def begin(**env):
            folder = str(tmp_path_factory.mktemp("instance"))
            return Site(stack.enter_context(Gunicorn(APP, env={"INSTANCE_PATH": folder, **ENV, **env})))

        yield begin


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """run(readers): the programs that run these clients."""
    with ExitStack() as stack:
        yield lambda readers: stack.enter_context(Programs(readers, tmp_path_factory.mktemp("clients")))


def wait_heartbeats(site, count):
    """Wait until a new stream has had this many heartbeats. An older stream has had as many, or one less."""
    with RawStream(site.port, "/events") as stream:
        stream.wait_for(lambda stream: stream.body.count(b": heartbeat\n") >= count, 10)


# -- a stream: sent away, opened, and ended by a deploy ------------------------------

EVENTS = [("n", "1"), ("n", "2"), ("n", "3"), ("end", "bye")]

DEPLOYED_AFTER = ("n", "2")

#: Each client with both forms of the heartbeat. "its stream" ends at each field; an old copy knows fields only.
CASES = {
    **{("frame", client.name): (client, "") for client in [*CLIENTS, *OURS] if "its stream" not in client.name},
    **{("frame, asked", client.name): (client, ASKED) for client in CLIENTS if client.minds_fields},
    **{("line", client.name): (client, "") for client in [*CLIENTS, *OURS] if "old copy" not in client.name},
}


@pytest.fixture(scope="module")
def seen(start, run):
    """What each client reports, and the cursors of the events."""
    sites = {"frame": start(), "line": start(**PLAIN)}
    cursors = {name: [] for name in sites}
    readers = {
        case: Reader(client, "%s/away_first/%d?channel=room:1%s" % (get_site(sites, case).server.url, number, query))
        for number, (case, (client, query)) in enumerate(CASES.items())
    }
    programs = run(list(readers.values()))
    programs.wait_all(lambda reader: reader.has_opened, "these have no stream")
    for event in EVENTS:
        for name, site in sites.items():
            cursors[name].append(site.publish("room:1", event[1], event=event[0]))
        programs.wait_all(lambda reader, event=event: event in reader.events, "event %s did not come to" % (event,))
        for site in sites.values() if event[0] == "n" else ():
            wait_heartbeats(site, 3)
        for site in sites.values() if event == DEPLOYED_AFTER else ():
            site.server.signal(signal.SIGHUP)
            site.server.wait_log("Worker exiting", 10)
    return readers, cursors


def get_site(sites, case):
    return sites[case[0].split(",")[0]]


@pytest.mark.parametrize("case", CASES, ids=" ".join)
def test_a_client_reports_each_event_once(seen, case):
    readers, cursors = seen
    reader, (client, _) = readers[case], CASES[case]
    assert reader.events == EVENTS, reader
    assert [line["id"] for line in reader.lines if line.get("event") in ("n", "end")] == get_site(cursors, case), reader
    assert all(json.loads(line["data"]) for line in reader.own_events), reader
    minds = client.minds_fields and case[0] == "frame"
    assert reader.errors == ['Unknown field "channel"'] * (4 if minds else 0), reader


@pytest.mark.parametrize("case", CASES, ids=" ".join)
def test_a_client_reports_empty_messages_for_heartbeats_with_an_empty_line_only(seen, case):
    """``docs/client.md`` names the clients that do. A chunked response ended once, at the deploy."""
    reader, (client, _) = seen[0][case], CASES[case]
    if case[0] == "line" or not client.minds_empty_lines:
        assert len(reader.empty_messages) == (1 if client.minds_chunks else 0), reader
    else:
        assert len(reader.empty_messages) >= 4 and reader.lines[0]["event"] == "ssemux.hello", reader


# -- an old view under streaming ----------------------------------------------------

TOKENS = [("message", '{"token": "a"}'), ("message", '{"token": "b"}'), ("message", "[DONE]")]

READERS = [
    (client, method, end)
    for client in CLIENTS
    for method in (["GET", "POST"] if client.posts else ["GET"])
    for end in ("LF", "CRLF")
]


@pytest.fixture(scope="module")
def tokens(start, run):
    """What each client reports of an old view, and how often it requested the view."""
    site = start(SSEMUX_HEARTBEAT="0.1")
    readers = [
        Reader(client, "%s/tokens/%d?end=%s" % (site.server.url, number, end), method)
        for number, (client, method, end) in enumerate(READERS)
    ]
    run(readers).wait_all(lambda reader: TOKENS[-1] in reader.events, "these have no end")
    return readers, site.get("/begun")


@pytest.mark.parametrize("number", range(len(READERS)), ids=lambda n: " ".join([READERS[n][0].name, *READERS[n][1:]]))
def test_a_client_requests_an_old_view_once_and_reports_its_events_only(tokens, number):
    readers, begun = tokens
    assert [(line.get("event"), line.get("data")) for line in readers[number].lines] == TOKENS, readers[number]
    assert begun[str(number)] == 1, readers[number]


# -- a connection that ends within an event ------------------------------------------

#: The data of more events than an event has bytes.
ALL = list(map(str, range(1, 121)))

CUT = [*CLIENTS, OURS[0]]


@pytest.fixture(scope="module")
def cut(start, run):
    """What each client reports if its connections are cut within an event, at each byte in turn."""
    site = start(SSEMUX_RETRY="10", SSEMUX_HEARTBEAT="5", **PLAIN)
    begin = site.publish("room:2", "before").split("-")[0] + "-0"
    for number in ALL:
        site.publish("room:1", number, event="n")
    query = "/events?channel=room:1&lastEventId=" + begin
    with urlopen(site.server.url + query + "&poll=now", timeout=10) as answer:
        places = range(1, len(EVENT.search(answer.read()).group()) + 1)
    with ExitStack() as stack:
        hops = [CuttingHop(site.port, choose_cuts(client, places)) for client in CUT]
        for hop in hops:
            stack.callback(hop.close)
        readers = [Reader(client, "http://127.0.0.1:%d%s" % (hop.port, query)) for client, hop in zip(CUT, hops)]
        run(readers).wait_all(lambda reader: ("n", ALL[-1]) in reader.events, "these have not all", 60)
        yield readers, hops


def choose_cuts(client, places):
    return [*places[::9], places[-2]] if client.name == SLOW else places


@pytest.mark.parametrize("number", range(len(CUT)), ids=lambda number: CUT[number].name)
def test_a_client_whose_connections_are_cut_within_an_event_loses_none(cut, number):
    readers, hops = cut
    reader, found = readers[number], [data for event, data in readers[number].events if event == "n"]
    assert any(piece.endswith(b"\n") and b"\nid: " in piece for piece in hops[number].cut), reader
    lost = [one for one in ALL if one not in found]
    assert len(lost) <= reader.client.lost, (lost, reader)
    assert found == [one for one in ALL if one not in lost], reader
