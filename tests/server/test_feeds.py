"""Feeds over real workers: one body in the whole deployment, handed over when its worker dies, drains or sleeps."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

import pytest

from flask_ssemux.brokers import open_broker
from tests.harness.client import Loop, RawStream
from tests.harness.engines import ALL
from tests.harness.own_stores import make_own_store
from tests.harness.waiting import until

FED = "tests.apps.fed:create_app()"

READERS = 200

#: What goes wrong, in this order.
TROUBLE = ["kill", "drain", "kill", "drain", "away", "kill", "drain", "kill", "deploy", "kill"] * 2

#: The same for the engines that differ little from others, unless the tests are to be whole.
LESS_TROUBLE = ["kill", "away", "drain", "kill", "away", "deploy", "kill"]


class Diary:
    """What the generators noted, in the order in which they did it."""

    def __init__(self, path):
        self.path = path
        self.killed = []

    def read(self):
        return [json.loads(line) for line in self.path.read_text().splitlines()] if self.path.exists() else []

    def list(self, what):
        return [note for note in self.read() if note["what"] == what]

    def find_holder(self):
        """Return who took the last step: its process, and its fence."""
        steps = self.list("step")
        return (steps[-1]["pid"], steps[-1]["fence"]) if steps else (0, 0)

    def note_killed(self, pid):
        with self.path.open("a") as file:
            file.write(json.dumps({"what": "killed", "pid": pid, "at": time.monotonic()}) + "\n")

    def check(self):
        """Check that at any time one body ran: each begins only after the one before it has ended, or was killed."""
        running, newest = {}, 0
        for note in self.read():
            if note["what"] == "begin":
                assert not running, (note, running)
                assert note["fence"] > newest
                running[note["fence"]], newest = note["pid"], note["fence"]
            elif note["what"] == "step":
                assert note["fence"] in running, (note, running)
            elif note["what"] == "end":
                del running[note["fence"]]
            elif note["what"] == "killed":
                running = {fence: pid for fence, pid in running.items() if pid != note["pid"]}


class Tab:
    """A client that comes back with its Last-Event-ID, as a browser does."""

    def __init__(self, port, loop, path="/events?channel=jobs"):
        self._port, self._loop, self._path = port, loop, path
        self._stream, self._past, self.last_id, self._back_at = None, [], "", 0.0

    def tick(self):
        if self._stream is not None and self._stream.ended:
            self.leave()
            self._back_at = time.monotonic() + 0.3
        if self._stream is None and time.monotonic() >= self._back_at:
            self._come()

    def _come(self):
        headers = {"Last-Event-ID": self.last_id} if self.last_id else {}
        try:
            self._stream = RawStream(self._port, self._path, headers, loop=self._loop)
        except OSError:  # no worker listens
            self._back_at = time.monotonic() + 0.3

    def leave(self):
        if self._stream is not None:
            self._stream.close()
            self._past += self._list_events()
            self.last_id = self._stream.last_event_id or self.last_id
            self._stream = None

    def _list_events(self):
        assert self._stream.status in (None, 200), self._stream.describe()
        return [(frame.event, frame.own_id, frame.data) for frame in self._stream.frames() if frame.dispatched]

    def list_events(self):
        """Return the names, ids and data of all events, but for what is told of the connection and of the store."""
        found = self._past + (self._list_events() if self._stream is not None else [])
        return [event for event in found if event[0] not in ("ssemux.hello", "ssemux.degraded", "ssemux.restored")]


class Crowd(threading.Thread):
    """Tabs in a thread of their own."""

    def __init__(self, port, count):
        super().__init__(daemon=True)
        self.loop, self.is_over, self.error = Loop(), False, None
        self.tabs = [Tab(port, self.loop) for _ in range(count)]

    def run(self):
        try:
            while not self.is_over:
                for tab in self.tabs:
                    tab.tick()
                time.sleep(0.05)
        except BaseException as error:
            self.error = error

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.is_over = True
        self.join(30)
        for tab in self.tabs:
            tab.leave()
        self.loop.close()


def read_history(url, channel):
    """Return the cursor and the data of each event of a channel."""
    broker = open_broker(url)
    try:
        newest = broker.history.get_newest_cursor()
        records = broker.history.read_events([channel], 0, newest.sequence, 100_000).records
        return [("%s-%d" % (newest.epoch, record.sequence), _find_data(record.body)) for record in records]
    finally:
        broker.close()


def _find_data(body):
    (line,) = [line for line in body.decode("utf-8").splitlines() if line.startswith("data: ")]
    return line[len("data: ") :]


def send_signal(pid, number):
    with suppress(ProcessLookupError):  # it has ended since its last step, because of the trouble before
        os.kill(pid, number)


def make_trouble(kind, is_late, site, store, diary):
    pid, _ = diary.find_holder()
    if kind == "kill":
        diary.note_killed(pid)
        send_signal(pid, signal.SIGKILL)
    elif kind == "drain":
        send_signal(pid, signal.SIGTERM)
    elif kind == "deploy":
        site.server.signal(signal.SIGHUP)
    elif not is_late:
        store.kill()
        time.sleep(0.5)
        store.restart()
    else:
        store.pause()
        time.sleep(4.5)
        store.resume()


def go_through_trouble(trouble, site, store, diary):
    """Return how long each kind of trouble kept the feed from its next step."""
    took = {kind: [] for kind in trouble}
    for number, kind in enumerate(trouble):
        steps, (_, fence) = len(diary.list("step")), diary.find_holder()
        make_trouble(kind, number >= len(trouble) / 2, site, store, diary)
        began = time.monotonic()

        def goes_on(kind=kind, steps=steps, fence=fence):
            is_elsewhere = diary.find_holder()[1] > fence
            return is_elsewhere if kind != "away" else len(diary.list("step")) > steps + 1

        until(goes_on, 30, lambda kind=kind: "no step after %s; %s" % (kind, diary.read()[-5:]))
        took[kind].append(round(time.monotonic() - began, 2))
    return took


def check_readers(crowd, store):
    """Check that each reader got every event from its first to the newest, once and in order."""
    history = read_history(store.url, "jobs")
    last = history[-1][0]
    until(
        lambda: all(any(event[1] == last for event in tab.list_events()[-50:]) for tab in crowd.tabs),
        30,
        "some miss it",
    )
    places = {cursor: number for number, (cursor, _) in enumerate(history)}
    for tab in crowd.tabs:
        events = tab.list_events()
        assert {name for name, _, _ in events} == {"step"}
        got = [(cursor, data) for _, cursor, data in events]
        begin = places[got[0][0]]
        assert got[: len(history) - begin] == history[begin:]
    steps = [tuple(json.loads(data)) for _, data in history]
    assert steps == sorted(set(steps)), "an old holder appended after a new one, or something twice"


def run_deployment(trouble, serve, store, folder):
    folder.mkdir()
    diary = Diary(folder / "diary")
    env = {"DIARY": str(diary.path), "SSEMUX_BROKER": store.url, "SSEMUX_RETRY": "300", "INSTANCE_PATH": str(folder)}
    site = serve(FED, workers=3, env=env, args=["--graceful-timeout", "10"])
    with Crowd(site.port, READERS) as crowd:
        until(lambda: all(tab.list_events() for tab in crowd.tabs), 30, lambda: "not all read; %r" % crowd.error)
        began, steps = time.monotonic(), len(diary.list("step"))
        took = go_through_trouble(trouble, site, store, diary)
        count, seconds = len(diary.list("step")) - steps, time.monotonic() - began
        check_readers(crowd, store)
        assert crowd.error is None
    diary.check()
    assert count <= seconds / 0.25 + 2 * len(trouble)  # each body begins with a step
    return took


def measure_handovers(diary):
    """Return the seconds from each end of a body to the beginning of the next."""
    notes = [note for note in diary.read() if note["what"] in ("begin", "end")]
    pairs = zip(notes, notes[1:])
    return [later["at"] - note["at"] for note, later in pairs if (note["what"], later["what"]) == ("end", "begin")]


@pytest.mark.parametrize("engines", [("sqlite", "redis"), ("postgres", "cluster")], ids=" and ".join)
def test_one_body_through_kills_drains_deploys_and_outages_for_200_readers(
    serve, running, engines, tmp_path, pytestconfig
):
    """On two stores at the same time."""
    is_whole = "sqlite" in engines or pytestconfig.getoption("--engines") != "some"
    trouble = TROUBLE if is_whole else LESS_TROUBLE
    stores = {name: running(make_own_store(name, tmp_path)) for name in engines}
    with ThreadPoolExecutor(2) as pool:
        calls = {
            name: pool.submit(run_deployment, trouble, serve, store, tmp_path / name) for name, store in stores.items()
        }
        found = {name: call.result() for name, call in calls.items()}
    for name, took in found.items():
        print(name, took)
        assert statistics.median(took["kill"]) < 5


@pytest.mark.engines("sqlite")
def test_a_worker_that_drains_hands_its_feed_over_within_a_second(serve, tmp_path):
    diary = Diary(tmp_path / "diary")
    site = serve(FED, workers=3, env={"DIARY": str(diary.path), "STEP": "0.05"})
    with Crowd(site.port, 60) as crowd:
        until(lambda: all(tab.list_events() for tab in crowd.tabs), 30, "not all read")
        for _ in range(2):  # the third one has readers all the time
            pid, fence = diary.find_holder()
            os.kill(pid, signal.SIGTERM)
            until(lambda fence=fence: diary.find_holder()[1] > fence, 20, "nobody takes over")
    took = measure_handovers(diary)
    print([round(seconds, 3) for seconds in took])
    assert min(took) < 2  # some 50 ms on a machine that is not loaded
    diary.check()


@pytest.mark.engines("sqlite", within=ALL)
def test_the_first_event_comes_at_once_and_the_generator_is_closed_after_the_last_reader(serve, tmp_path):
    diary = Diary(tmp_path / "diary")
    site = serve(FED, env={"DIARY": str(diary.path), "LINGER": "0"})
    with site.stream():  # opens the store
        waited = []
        for number in range(4):
            with site.stream("/events?channel=jobs") as stream:
                began = stream.opened_at
                (step,) = stream.wait_events(1, 5, "step")
                waited.append(step.at - began)
            until(lambda count=number + 1: len(diary.list("end")) == count, 10, "it is not closed")
    print([round(seconds, 3) for seconds in waited])
    assert min(waited) < 0.1
    diary.check()


@pytest.mark.engines("sqlite")
def test_an_old_view_polls_once_for_all_its_clients(serve, tmp_path):
    diary, database = Diary(tmp_path / "diary"), tmp_path / "jobs.sqlite3"
    jobs = sqlite3.connect(database, isolation_level=None)
    jobs.execute("CREATE TABLE jobs (text TEXT)")
    site = serve(FED, workers=2, env={"DIARY": str(diary.path), "DATABASE": str(database), "STEP": "0.1"})
    with ExitStack() as stack:
        streams = [stack.enter_context(site.stream("/api/jobs/stream")) for _ in range(10)]
        for stream in streams:
            stream.wait_for(b"ssemux.hello", 5)
        for number in range(5):
            jobs.execute("INSERT INTO jobs VALUES (?)", (json.dumps({"done": number}),))
        for stream in streams:
            found = [(frame.event, json.loads(frame.data)) for frame in stream.wait_events(5, 10, "job")]
            assert found == [("job", {"done": number}) for number in range(5)]
        queries = diary.list("query")
        seconds = queries[-1]["at"] - queries[0]["at"]
        assert len(queries) <= seconds / 0.1 + 2 and len({query["pid"] for query in queries}) == 1
    jobs.close()


@pytest.mark.engines("sqlite", "postgres")
def test_a_holder_that_was_asleep_publishes_nothing_after_another_took_over(serve, broker_url, tmp_path):
    diary = Diary(tmp_path / "diary")
    site = serve(FED, workers=2, env={"DIARY": str(diary.path), "STEP": "0.05"})
    with Crowd(site.port, 20) as crowd:
        until(lambda: all(tab.list_events() for tab in crowd.tabs), 20, "not all read")
        pid, fence = diary.find_holder()
        others = [it for it in site.server.worker_pids() if it != pid]
        os.kill(pid, signal.SIGSTOP)
        try:
            until(lambda: diary.find_holder()[1] > fence, 20, "nobody takes over")
            assert diary.find_holder()[0] in others
        finally:
            os.kill(pid, signal.SIGCONT)
        until(lambda: any(note["fence"] == fence for note in diary.list("end")), 10, "the sleeper goes on")
        count = len(diary.list("step"))
        until(lambda: len(diary.list("step")) > count + 10, 10, "the other one stopped")
        steps = [tuple(json.loads(data)) for _, data in read_history(broker_url, "jobs")]
        assert steps == sorted(set(steps)) and {it for it, _ in steps} == {fence, diary.find_holder()[1]}


@pytest.mark.engines("sqlite", within=ALL)
def test_in_threads_a_generator_is_closed_at_its_next_yield(serve_threads, tmp_path):
    diary = Diary(tmp_path / "diary")
    site = serve_threads(FED, env={"DIARY": str(diary.path), "LINGER": "0", "STEP": "0.1"})
    for number in range(2):
        with site.stream("/events?channel=jobs") as stream, site.stream("/events?channel=jobs") as other:
            for one in (stream, other):
                one.wait_events(2, 5, "step")
        until(lambda count=number + 1: len(diary.list("end")) == count, 20, "it is not closed")
    diary.check()
