"""Traces over several processes: two gunicorn workers and a program without Flask, all with OpenTelemetry's own SDK."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import ExitStack

from tests.harness.servers import ROOT, environment
from tests.harness.spans import load
from tests.harness.waiting import until

load("opentelemetry.sdk")

CHANNEL = "/events?channel=room:1"


def test_the_fan_out_of_each_worker_is_in_the_trace_of_the_process_that_published(serve, tmp_path):
    broker = "sqlite:///%s" % (tmp_path / "ssemux.sqlite3")
    env = {"SSEMUX_BROKER": broker, "SPANS": str(tmp_path / "spans")}
    site = serve("tests.apps.traced:create_app()", workers=2, env=env)
    with ExitStack() as opened:
        streams = open_streams_of_all_workers(site, opened)
        published = run_program(env, "room:1", "from a program")
        answer = site.post("/publish", channel="room:1", data="from a worker")
        for stream in streams:
            texts = [event.data for event in stream.wait_events(2, 5, "message")]
            assert texts == ["from a program", "from a worker"] and b"traceparent" not in stream.body
        spans = wait_for_spans(tmp_path / "spans", 7)
    with site.stream(CHANNEL, last=published) as back:  # a replay has no span
        (event,) = back.wait_events(1, 5, "message")
        assert event.data == "from a worker" and b"traceparent" not in back.body
    assert len(read_spans(tmp_path / "spans")) == 7

    (job,), publishes = find_spans(spans, "job"), {get_message(it): it for it in find_spans(spans, "publish")}
    by_program, by_worker = publishes[published], publishes[answer["cursor"]]
    assert by_program["parent_id"] == get_id(job)
    assert get_pid(by_program) not in site.server.worker_pids() and get_pid(by_worker) == answer["pid"]
    for publish in (by_program, by_worker):
        fan_outs = [span for span in find_spans(spans, "fan_out") if get_message(span) == get_message(publish)]
        assert {get_pid(span) for span in fan_outs} == set(site.server.worker_pids())
        assert {span["parent_id"] for span in fan_outs} == {get_id(publish)}
        assert {span["context"]["trace_id"] for span in fan_outs} == {publish["context"]["trace_id"]}
        assert sum(span["attributes"]["messaging.flask_ssemux.stream_count"] for span in fan_outs) == len(streams)


def open_streams_of_all_workers(site, opened):
    """Open streams one after another until each worker has one."""
    streams, workers = [], set()
    while len(workers) < 2:
        streams.append(opened.enter_context(site.stream(CHANNEL)))
        streams[-1].wait_for(b"ssemux.hello", 5)
        workers.add(streams[-1].headers["x-pid"])
    return streams


def run_program(env, *arguments):
    command = [sys.executable, "-m", "tests.apps.traced", *arguments]
    return subprocess.check_output(command, cwd=ROOT, env=environment(env), text=True, timeout=30).strip()


def read_spans(path):
    """Return the spans whose lines are complete."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def wait_for_spans(path, count):
    return until(lambda: len(read_spans(path)) >= count and read_spans(path), 5, lambda: read_spans(path))


def find_spans(spans, name):
    return [span for span in spans if span["name"].split(" ")[0] == name]


def get_id(span):
    return span["context"]["span_id"]


def get_pid(span):
    return span["resource"]["attributes"]["process.pid"]


def get_message(span):
    return span["attributes"]["messaging.message.id"]
