"""What the engines promise that several processes share: numbers, history, places, forks. Real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from flask_ssemux.brokers import open_broker
from tests.harness.waiting import until

ALL = 10**9

APPEND = """
import sys
from flask_ssemux.brokers import open_broker
broker = open_broker(sys.argv[1])
for number in range(int(sys.argv[3])):
    print(broker.history.append_event(sys.argv[2], b"%d" % number).sequence, flush=True)
"""


def process(script, *args):
    return subprocess.Popen([sys.executable, "-c", script, *map(str, args)], stdout=subprocess.PIPE, text=True)


def test_they_number_together_and_are_heard_in_order(make_shared, shared_url, ear):
    broker = make_shared()
    broker.history.start_delivery(ear.listener)
    broker.history.subscribe_channels(["c0", "c1", "c2"])
    writers = [process(APPEND, shared_url, "c%d" % n, 150) for n in range(3)]
    numbers = [int(line) for writer in writers for line in writer.communicate(timeout=60)[0].split()]
    ear.wait(450)
    assert sorted(numbers) == ear.sequences == list(range(1, 451))
    for n in range(3):
        assert [r.body for r in ear.records if r.channel == "c%d" % n] == [b"%d" % i for i in range(150)]


def test_a_writer_that_is_killed_loses_nothing_that_it_was_told_is_kept(make_shared, shared_url):
    writer = process(APPEND, shared_url, "a", 100000)
    numbers = [int(writer.stdout.readline()) for _ in range(50)]
    os.kill(writer.pid, signal.SIGKILL)
    numbers += [int(line) for line in writer.stdout if line.endswith("\n")]
    writer.communicate(timeout=30)
    broker = make_shared()
    assert broker.history.get_newest_cursor().sequence in (numbers[-1], numbers[-1] + 1)
    kept = []
    while not kept or kept[-1] < numbers[-1]:
        kept += [
            record.sequence
            for record in broker.history.read_events(["a"], kept[-1] if kept else 0, numbers[-1], 1000).records
        ]
    assert kept == numbers


def test_a_publisher_beside_the_application_keeps_to_its_history(make_shared, shared_url, opened):
    make_shared(events=10).history.get_newest_cursor()
    beside = open_broker(shared_url)
    opened(beside)
    for _ in range(50):
        beside.history.append_event("a", b"x")
    assert len(beside.history.read_events(["a"], 0, ALL, 100).records) <= 11


def test_places_of_a_process_that_died_are_free_at_once(make_shared, shared_url):
    script = "import sys; from flask_ssemux.brokers import open_broker; b = open_broker(sys.argv[1])\n"
    script += "print([b.leases.take_user_slot('user:1', 2) for _ in range(3)], flush=True); sys.stdin.read()"
    holder = subprocess.Popen(
        [sys.executable, "-c", script, shared_url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "[True, True, False]\n"
    broker = make_shared()
    assert not broker.leases.take_user_slot("user:1", 2)
    holder.kill()
    holder.communicate(timeout=10)
    assert [broker.leases.take_user_slot("user:1", 2) for _ in range(3)] == [True, True, False]


def test_the_oldest_of_several_processes(make_shared, shared_url, opened):
    brokers = [make_shared() for _ in range(3)]
    for broker, since in zip(brokers, (1000.25, 1000.125, None)):
        assert broker.leases.take_user_slot("user:1", 5)
        if since:
            broker.leases.announce_oldest_slot("user:1", since)
    first, second, silent = brokers
    assert first.leases.find_oldest_slot_holder("user:1") == silent.process_name  # nobody knows how old its places are
    silent.close()
    assert [broker.leases.find_oldest_slot_holder("user:1") for broker in (first, second)] == [second.process_name] * 2
    second.leases.announce_oldest_slot("user:1", 1001.0)
    assert second.leases.find_oldest_slot_holder("user:1") == first.process_name
    first.leases.renew_leases()
    second.leases.renew_leases()
    assert second.leases.find_oldest_slot_holder("user:1") == first.process_name
    first.leases.release_user_slot("user:1")
    until(lambda: second.leases.find_oldest_slot_holder("user:1") == second.process_name, 5, "it is still held")


def test_a_process_that_died_is_never_the_oldest(make_shared, shared_url):
    script = "import sys; from flask_ssemux.brokers import open_broker; b = open_broker(sys.argv[1])\n"
    script += "b.leases.take_user_slot('user:1', 2)\n"
    script += "b.leases.announce_oldest_slot('user:1', 1.0); print('held', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", script, shared_url]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    broker = make_shared()
    broker.leases.take_user_slot("user:1", 2)
    broker.leases.announce_oldest_slot("user:1", 2.0)
    assert broker.leases.find_oldest_slot_holder("user:1") not in (None, broker.process_name)
    holder.kill()
    holder.communicate(timeout=10)
    assert broker.leases.find_oldest_slot_holder("user:1") == broker.process_name


def test_reports_of_a_process_that_died_or_closed_are_gone_at_once(make_shared, shared_url):
    script = "import sys; from flask_ssemux.brokers import open_broker; b = open_broker(sys.argv[1])\n"
    script += "b.reports.write_report({'name': sys.argv[2]}); print('told', flush=True); sys.stdin.read(); b.close()"
    command = [sys.executable, "-c", script, shared_url]
    others = [
        subprocess.Popen(command + [name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for name in ("closes", "is killed", "lives")
    ]
    assert [other.stdout.readline() for other in others] == ["told\n"] * 3
    broker = make_shared()
    broker.reports.write_report({"name": "ours"})

    def names():
        return sorted(report.figures["name"] for report in broker.reports.read_reports())

    assert names() == ["closes", "is killed", "lives", "ours"]
    assert len({report.process_name for report in broker.reports.read_reports()}) == 4
    others[0].communicate(timeout=10)
    others[1].kill()
    others[1].communicate(timeout=10)
    assert names() == ["lives", "ours"]
    others[2].communicate(timeout=10)
    assert names() == ["ours"]


def test_a_child_of_a_process_that_publishes_publishes_too(make_shared, shared_url, tmp_path):
    """SQLite's locks do not survive a fork, and a connection is one process's: each opens its own."""
    script = (
        "import os, sys, flask, flask_ssemux\n"
        "app = flask.Flask('x', instance_path=sys.argv[2])\n"
        "app.config['SSEMUX_BROKER'] = sys.argv[1]\n"
        "flask_ssemux.init_app(app)\n"
        "app.app_context().push()\n"
        "flask_ssemux.publish('a', 'parent')\n"
        "ours, theirs = os.pipe()\n"
        "if not os.fork():\n"
        "    flask_ssemux.publish('a', 'child')\n"
        "    os.read(ours, 1)\n"
        "    for _ in range(4): flask_ssemux.publish('a', 'child')\n"
        "    os._exit(0)\n"
        "flask_ssemux.publish('a', 'parent')\n"
        "app.extensions['ssemux'].worker.close()\n"
        "os.write(theirs, b'x')\n"
        "assert os.wait()[1] == 0\n"
    )
    subprocess.run([sys.executable, "-c", script, shared_url, tmp_path], check=True, timeout=30)
    assert make_shared().history.get_newest_cursor().sequence == 7


def test_users_who_left_are_not_remembered(make_shared):
    broker = make_shared()
    for number in range(50):
        assert broker.leases.take_user_slot("user:%d" % number, 1)
        broker.leases.release_user_slot("user:%d" % number)
    broker.leases.release_user_slot("user:never")
    until(lambda: broker.get_figures()["held"] == 0, 5, "some are held")
    assert not broker.leases._taken


THREAD_FORKS = """
import os, sqlite3, sys, time
from gevent import monkey
monkey.patch_all()
import gevent
sleep, fork, waitpid = (monkey.get_original(*name) for name in (("time", "sleep"), ("os", "fork"), ("os", "waitpid")))
os.register_at_fork(before=lambda: sleep(0.2))  # called after those of what is imported below
import flask_ssemux

def fork_here():
    child = fork()
    if child == 0:
        os._exit(0)
    waitpid(child, 0)

with flask_ssemux.Publisher("sqlite:///" + sys.argv[1]) as publisher:
    publisher.publish("a", "first")
    other = sqlite3.connect(sys.argv[1], isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    waits = gevent.spawn(publisher.publish, "a", "waits")
    gevent.sleep(0)
    gevent.get_hub().threadpool.spawn(fork_here).get()
    other.execute("ROLLBACK")
    print(waits.get())
"""


def test_who_waits_for_a_busy_store_goes_on_after_a_fork_in_a_thread(tmp_path):
    """gevent's loop goes on between the moment when the file is closed for the fork and the fork."""
    command = [sys.executable, "-c", THREAD_FORKS, str(tmp_path / "store")]
    done = subprocess.run(command, capture_output=True, timeout=30)
    assert done.stdout.endswith(b"-2\n") and not done.stderr, done.stderr.decode()
