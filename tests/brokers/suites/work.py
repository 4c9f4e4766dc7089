"""The contract of work: leases with fences, events under a lease, and records of runs."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from flask_ssemux.brokers import RUNNING, WAITING, NewEvent, WorkBatch, WorkLease
from tests.brokers.conftest import pretend_other_host
from tests.brokers.recorder import Recorder

ALL = 10**18

#: Takes the work that is named in its arguments, wants the work "feed:wanted", and waits until it is killed.
HOLDER = """
import sys
from flask_ssemux.brokers import open_broker
broker = open_broker(sys.argv[1])
leases = broker.work.take_work(sys.argv[2:])
broker.work.begin_run("dead", "{}")
broker.work.keep_work(leases, ["feed:wanted"])
print(leases[0].fence, flush=True)
sys.stdin.read()
"""


def batch(lease, *bodies, end=None, number=0):
    return WorkBatch(lease, [NewEvent(lease.name, b"data: %s\n\n" % body) for body in bodies], end, number)


def read_bodies(broker, name):
    records = broker.history.read_events([name], 0, ALL, 1000).records
    return [record.body[6:-2] for record in records]


class WorkSuite:
    """What every engine promises."""

    def test_fences_grow_with_each_taking_of_any_work(self, broker):
        leases = [broker.work.take_work([name])[0] for name in ("feed:a", "feed:b", "feed:a")]
        leases += broker.work.take_work(["feed:c", "feed:d"])
        leases.append(broker.work.begin_run("x", "{}"))
        fences = [lease.fence for lease in leases]
        assert fences == sorted(set(fences)) and [lease.name for lease in leases][2:] == [
            "feed:a",
            "feed:c",
            "feed:d",
            "run:x",
        ]
        assert abs(fences[0] / 1e6 - time.time()) < 60

    def test_events_are_appended_under_the_newest_lease_only(self, broker):
        (old,) = broker.work.take_work(["feed:a"])
        assert broker.work.append_work([batch(old, b"1")])[0] == [broker.history.get_newest_cursor()]
        (new,) = broker.work.take_work(["feed:a"])
        assert broker.work.append_work([batch(old, b"2")]) == [None]
        cursors = broker.work.append_work([batch(new, b"3", b"4")])[0]
        assert [cursor.sequence - cursors[0].sequence for cursor in cursors] == [0, 1]
        assert read_bodies(broker, "feed:a") == [b"1", b"3", b"4"]

    def test_one_call_appends_for_many_leases_and_leaves_out_the_lost_ones(self, broker):
        leases = broker.work.take_work(["feed:%d" % number for number in range(5)])
        broker.work.take_work(["feed:1", "feed:3"])
        found = broker.work.append_work([batch(lease, b"x", b"y") for lease in leases])
        assert [cursors and len(cursors) for cursors in found] == [2, None, 2, None, 2]
        sequences = [cursor.sequence for cursors in found for cursor in cursors or ()]
        assert sequences == list(range(sequences[0], sequences[0] + 6))
        assert broker.history.get_newest_cursor() == found[4][1]
        whole = [b"x", b"y"]
        kept = [read_bodies(broker, "feed:%d" % number) for number in range(5)]
        assert kept == [whole, [], whole, [], whole]

    def test_a_call_without_a_held_lease_appends_nothing(self, broker):
        before = broker.history.get_newest_cursor()
        assert broker.work.append_work([batch(WorkLease("feed:a", 7), b"x")]) == [None]
        assert broker.history.get_newest_cursor() == before

    def test_events_are_delivered(self, broker, recorder):
        broker.history.start_delivery(recorder.listener)
        broker.history.subscribe_channels(["feed:a"])
        (lease,) = broker.work.take_work(["feed:a"])
        broker.work.append_work([batch(lease, b"1", b"2")])
        recorder.wait(2)
        assert [record.body for record in recorder.records] == [b"data: 1\n\n", b"data: 2\n\n"]

    def test_kept_work_is_held_and_released_work_is_free(self, broker):
        leases = broker.work.take_work(["feed:a", "feed:b"])
        kept = broker.work.keep_work(leases, ["feed:a", "feed:c"], ["feed:b", "feed:d"])
        assert kept == (leases, {"feed:a"}, {"feed:c", "feed:d"}, set())
        broker.work.release_work(leases[:1])
        broker.work.release_work(leases[:1])
        assert broker.work.keep_work(leases, ["feed:a"])[:3] == (leases[1:], set(), {"feed:a"})
        assert broker.work.append_work([batch(leases[0], b"x")]) == [None]

    def test_wants_replace_those_of_the_last_call(self, broker):
        leases = broker.work.take_work(["feed:a", "feed:b"])
        assert broker.work.keep_work(leases, ["feed:a"]).wanted == {"feed:a"}
        assert broker.work.keep_work(leases, ["feed:b"]).wanted == {"feed:b"}
        assert broker.work.keep_work(leases).wanted == set()

    def test_releasing_an_old_lease_leaves_the_new_one(self, broker):
        (old,) = broker.work.take_work(["feed:a"])
        (new,) = broker.work.take_work(["feed:a"])
        broker.work.release_work([old])
        assert broker.work.keep_work([old, new]).held == [new]

    def test_the_record_of_a_run_from_its_beginning_to_its_end(self, broker):
        details = json.dumps({"owner": "7", "text": "ä\n\x00 |"})
        begin = broker.history.append_event("a", b"data: before\n\n")
        lease = broker.work.begin_run("x", details)
        assert lease.name == "run:x"
        assert broker.work.read_runs(["x", "y"]) == {"x": (RUNNING, details, begin, False, True, lease.fence)}
        assert len(broker.work.append_work([batch(lease, b"1", b"2")])[0]) == 2
        assert len(broker.work.append_work([batch(lease, b"end", end="done")])[0]) == 1
        record = broker.work.read_runs(["x"])["x"]
        assert (record.state, record.details, record.is_held) == ("done", details, False)
        assert broker.work.append_work([batch(lease, b"3")]) == [None]
        assert broker.work.append_work([batch(lease, b"end", end="failed")]) == [None]
        assert broker.work.keep_work([lease], (), ["run:x"])[:3] == ([], set(), {"run:x"})
        assert read_bodies(broker, "run:x") == [b"1", b"2", b"end"] and broker.work.read_runs(["x"])["x"] == record

    def test_the_ends_and_events_of_many_runs_are_one_call(self, broker):
        leases = [broker.work.begin_run(str(number), "{}") for number in range(4)]
        broker.work.append_work([batch(leases[1], b"end", end="failed")])
        found = broker.work.append_work(
            [batch(lease, b"1", b"2", end="done" if number < 3 else None) for number, lease in enumerate(leases)]
        )
        assert [cursors and len(cursors) for cursors in found] == [2, None, 2, 2]
        states = {key: run.state for key, run in broker.work.read_runs("0123").items()}
        assert states == {"0": "done", "1": "failed", "2": "done", "3": RUNNING}

    def test_exactly_one_of_many_ends_a_run(self, broker):
        lease = broker.work.begin_run("x", "{}")

        def end_run(number):
            return broker.work.append_work([batch(lease, b"%d" % number, end="s%d" % number)])

        with ThreadPoolExecutor(8) as pool:
            ends = list(pool.map(end_run, range(8)))
        (winner,) = [number for number, (cursors,) in enumerate(ends) if cursors]
        assert read_bodies(broker, "run:x") == [b"%d" % winner]
        assert broker.work.read_runs(["x"])["x"].state == "s%d" % winner

    def test_a_run_that_was_released_can_be_ended_or_resumed(self, broker):
        ended, resumed = broker.work.begin_run("a", "{}"), broker.work.begin_run("b", "{}")
        broker.work.release_work([ended, resumed])
        runs = broker.work.read_runs("ab")
        assert [runs[key][3:] for key in "ab"] == [(False, False, ended.fence), (False, False, resumed.fence)]
        assert sorted(broker.work.find_lost_runs()) == ["a", "b"]
        assert broker.work.append_work([batch(WorkLease("run:a", runs["a"].fence), b"end", end="lost")])[0]
        (lease,) = broker.work.take_work(["run:b"])
        assert broker.work.append_work([batch(resumed, b"end", end="lost")]) == [None]
        assert broker.work.append_work([batch(lease, b"1", end="done")])[0]
        assert {key: run.state for key, run in broker.work.read_runs("ab").items()} == {"a": "lost", "b": "done"}

    def test_only_a_run_that_runs_can_be_cancelled(self, broker):
        lease = broker.work.begin_run("x", "{}")
        assert broker.work.cancel_run("x") and broker.work.cancel_run("x") and not broker.work.cancel_run("y")
        assert broker.work.read_runs(["x"])["x"].is_cancelled and broker.work.keep_work([lease]).cancelled == {"run:x"}
        broker.work.append_work([batch(lease, b"end", end="cancelled")])
        assert not broker.work.cancel_run("x") and broker.work.read_runs(["y"]) == {}

    def test_a_run_that_was_planned_begins_later_and_keeps_its_record(self, broker):
        broker.work.plan_run("x", "planned")
        record = broker.work.read_runs(["x"])["x"]
        assert record[:2] == (WAITING, "planned") and record[3:] == (False, False, 0)
        broker.history.append_event("a", b"data: later\n\n")
        assert broker.work.find_lost_runs() == [] and broker.work.cancel_run("x")
        lease = broker.work.begin_run("x", "begun")
        assert broker.work.read_runs(["x"])["x"] == (RUNNING, "planned", record.begin, True, True, lease.fence)
        assert broker.work.find_lost_runs() == []
        broker.work.append_work([batch(lease, b"end", end="done")])
        assert broker.work.find_lost_runs() == [] and not broker.work.cancel_run("x")

    def test_the_record_of_a_run_is_kept_as_long_as_the_history_after_its_end(self, make, travel):
        broker = make(seconds=100.0)
        lease = broker.work.begin_run("x", "{}")
        travel(broker, 90)
        broker.work.keep_work([lease])
        travel(broker, 90)
        assert broker.work.append_work([batch(lease, b"end", end="done")])[0]
        broker.work.begin_run("y", "{}")
        assert broker.work.read_runs(["x"])["x"].state == "done"
        travel(broker, 110)
        broker.work.begin_run("z", "{}")
        assert broker.work.read_runs(["x"]) == {}

    def test_the_record_of_a_run_that_nobody_begins_is_kept_as_long(self, make, travel):
        broker = make(seconds=100.0)
        broker.work.plan_run("x", "{}")
        broker.work.plan_run("y", "{}")
        travel(broker, 90)
        lease = broker.work.begin_run("y", "{}")
        assert broker.work.read_runs("xy").keys() == {"x", "y"}
        travel(broker, 20)
        broker.work.keep_work([lease])
        broker.work.plan_run("z", "{}")
        assert broker.work.read_runs("xyz").keys() == {"y", "z"}

    def test_names_and_ids_may_be_any_text(self, broker):
        names = ["feed:ä", "feed:a b", "feed:a\nb", "feed:{x}", "feed:%s"]
        leases = broker.work.take_work(names)
        assert [lease.name for lease in leases] == names
        assert broker.work.keep_work(leases, names)[:3] == (leases, set(names), set())


class SharedWorkSuite:
    """What engines promise that several processes share."""

    def test_work_of_a_living_process_is_not_taken(self, make_shared):
        first, second = make_shared(), make_shared()
        leases = first.work.take_work(["feed:a", "feed:b"])
        (third,) = second.work.take_work(["feed:a", "feed:b", "feed:c"])
        assert third.name == "feed:c" and third.fence > leases[1].fence
        assert second.work.keep_work([third], ["feed:a"], ["feed:b", "feed:d"])[:3] == ([third], set(), {"feed:d"})
        assert first.work.keep_work(leases)[:3] == (leases, {"feed:a"}, set())
        first.work.release_work(leases[:1])
        (taken,) = second.work.take_work(["feed:a", "feed:b"])
        assert taken.name == "feed:a" and first.work.append_work([batch(leases[0], b"x")]) == [None]

    def test_a_closed_broker_holds_and_wants_nothing(self, make_shared):
        first, second = make_shared(), make_shared()
        first.work.take_work(["feed:a"])
        (lease,) = second.work.take_work(["feed:b"])
        first.work.keep_work([], ["feed:b"])
        assert second.work.keep_work([lease], ["feed:a"])[:3] == ([lease], {"feed:b"}, set())
        first.close()
        assert second.work.keep_work([lease], ["feed:a"])[:3] == ([lease], set(), {"feed:a"})
        assert len(second.work.take_work(["feed:a"])) == 1

    def test_work_of_a_dead_process_is_free_at_once_and_its_runs_are_lost(self, make_shared, shared_url):
        command = [sys.executable, "-c", HOLDER, shared_url, "feed:a", "feed:b"]
        holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        fence = int(holder.stdout.readline())
        broker = make_shared()
        assert broker.work.take_work(["feed:a", "feed:b"]) == [] and broker.work.read_runs(["dead"])["dead"].is_held
        (wanted,) = broker.work.take_work(["feed:wanted"])
        assert broker.work.keep_work([wanted], ["feed:a"])[:3] == ([wanted], {"feed:wanted"}, set())
        holder.kill()
        holder.communicate(timeout=10)
        watches = ["feed:b", "run:dead"]
        assert broker.work.keep_work([wanted], ["feed:a"], watches)[:3] == ([wanted], set(), {"feed:a", *watches})
        assert [lease.fence > fence for lease in broker.work.take_work(["feed:a", "feed:b"])] == [True, True]
        record = broker.work.read_runs(["dead"])["dead"]
        assert record.state == RUNNING and not record.is_held and broker.work.find_lost_runs() == ["dead"]
        assert broker.work.append_work([batch(WorkLease("run:dead", record.fence), b"end", end="lost")])[0]
        assert broker.work.read_runs(["dead"])["dead"].state == "lost"

    def test_work_of_a_process_elsewhere_is_free_when_it_was_not_renewed_in_time(self, make_shared, travel):
        elsewhere, here = make_shared(), make_shared()
        pretend_other_host(elsewhere)
        (lease,) = elsewhere.work.take_work(["feed:a"])
        (wanted,) = here.work.take_work(["feed:wanted"])
        for _ in range(3):
            travel(here, 3)
            assert elsewhere.work.keep_work([lease], ["feed:wanted"]).held == [lease]
            assert here.work.take_work(["feed:a"]) == []
            assert here.work.keep_work([wanted], ["feed:a"])[:3] == ([wanted], {"feed:wanted"}, set())
        travel(here, 5)
        assert here.work.keep_work([wanted], ["feed:a"])[:3] == ([wanted], set(), {"feed:a"})
        (new,) = here.work.take_work(["feed:a"])
        assert elsewhere.work.keep_work([lease], ["feed:a"])[:3] == ([], set(), set())
        assert elsewhere.work.append_work([batch(lease, b"x")]) == [None] and new.fence > lease.fence

    def test_a_lease_that_expired_and_was_not_taken_is_renewed(self, make_shared, travel):
        elsewhere = make_shared()
        pretend_other_host(elsewhere)
        (lease,) = elsewhere.work.take_work(["feed:a"])
        travel(elsewhere, 10)
        assert elsewhere.work.append_work([batch(lease, b"x")])[0]
        assert elsewhere.work.keep_work([lease]).held == [lease]
        assert make_shared().work.take_work(["feed:a"]) == []

    @pytest.mark.parametrize("count", [4])
    def test_events_of_two_holders_never_mix(self, make_shared, count):
        """Brokers take the same work from each other as fast as they can; whoever appends must be the newest."""
        brokers, found = [make_shared() for _ in range(count)], []

        def contend(broker):
            for _ in range(25):
                for lease in broker.work.take_work(["feed:a"]):
                    found.append(broker.work.append_work([batch(lease, b"%d" % lease.fence) for _ in range(1)])[0])
                    broker.work.release_work([lease])

        with ThreadPoolExecutor(count) as pool:
            list(pool.map(contend, brokers))
        fences = [int(body) for body in read_bodies(brokers[0], "feed:a")]
        assert fences == sorted(set(fences)) and len(fences) == len(found) and None not in found

    def test_other_processes_receive_the_events(self, make_shared):
        first, second, recorder = make_shared(), make_shared(), Recorder()
        second.history.start_delivery(recorder.listener)
        second.history.subscribe_channels(["feed:a"])
        (lease,) = first.work.take_work(["feed:a"])
        first.work.append_work([batch(lease, b"1")])
        recorder.wait(1)
        assert second.history.get_newest_cursor() == first.history.get_newest_cursor()

    def test_namespaces_do_not_share_work(self, shared_url, opened):
        from flask_ssemux.brokers import HistoryLimits, open_broker

        brokers = [open_broker(shared_url, HistoryLimits(), namespace=name) for name in ("shop", "office")]
        for broker in brokers:
            opened(broker)
            assert len(broker.work.take_work(["feed:a"])) == 1
            broker.work.begin_run(broker.process_name, "{}")
        assert brokers[0].work.read_runs([brokers[1].process_name]) == {}
