"""The contract of leases: the slots of users."""

from __future__ import annotations

import subprocess
import sys

from tests.harness.waiting import until


class LeasesSuite:
    """What every engine promises."""

    def test_slots_are_limited_and_can_be_taken_again(self, broker):
        assert [broker.leases.take_user_slot("user:1", 2) for _ in range(3)] == [True, True, False]
        assert broker.leases.take_user_slot("user:2", 2)
        broker.leases.release_user_slot("user:1")
        assert broker.leases.take_user_slot("user:1", 2)
        assert not broker.leases.take_user_slot("user:1", 2)

    def test_releasing_a_slot_that_was_not_taken_is_harmless(self, broker):
        broker.leases.release_user_slot("user:1")
        assert [broker.leases.take_user_slot("user:1", 1), broker.leases.take_user_slot("user:1", 1)] == [True, False]

    def test_the_oldest_slot_is_that_of_a_process_which_has_slots(self, broker):
        assert broker.leases.find_oldest_slot_holder("user:1") is None
        broker.leases.announce_oldest_slot("user:1", 1000.0)
        assert broker.leases.find_oldest_slot_holder("user:1") is None  # it has no slot
        broker.leases.take_user_slot("user:1", 5)
        assert (
            broker.leases.find_oldest_slot_holder("user:1") == broker.process_name
            and broker.leases.find_oldest_slot_holder("user:2") is None
        )
        broker.leases.announce_oldest_slot("user:1", None)
        assert broker.leases.find_oldest_slot_holder("user:1") == broker.process_name
        broker.leases.release_user_slot("user:1")
        until(lambda: broker.leases.find_oldest_slot_holder("user:1") is None, 5, "it is still held")


class SharedLeasesSuite:
    """What engines promise that several processes share. Real processes."""

    def test_slots_of_a_dead_process_are_free_at_once(self, make_shared, shared_url):
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

    def test_the_oldest_of_several_processes(self, make_shared, shared_url, opened):
        brokers = [make_shared() for _ in range(3)]
        for broker, since in zip(brokers, (1000.25, 1000.125, None)):
            assert broker.leases.take_user_slot("user:1", 5)
            if since:
                broker.leases.announce_oldest_slot("user:1", since)
        first, second, silent = brokers
        assert (
            first.leases.find_oldest_slot_holder("user:1") == silent.process_name
        )  # the age of its slots is not known
        silent.close()
        assert [broker.leases.find_oldest_slot_holder("user:1") for broker in (first, second)] == [
            second.process_name
        ] * 2
        second.leases.announce_oldest_slot("user:1", 1001.0)
        assert second.leases.find_oldest_slot_holder("user:1") == first.process_name
        first.leases.renew_leases()
        second.leases.renew_leases()
        assert second.leases.find_oldest_slot_holder("user:1") == first.process_name
        first.leases.release_user_slot("user:1")
        until(lambda: second.leases.find_oldest_slot_holder("user:1") == second.process_name, 5, "it is still held")

    def test_a_dead_process_never_has_the_oldest_slot(self, make_shared, shared_url):
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

    def test_users_who_left_are_not_remembered(self, make_shared):
        broker = make_shared()
        for number in range(50):
            assert broker.leases.take_user_slot("user:%d" % number, 1)
            broker.leases.release_user_slot("user:%d" % number)
        broker.leases.release_user_slot("user:never")
        until(lambda: broker.get_figures()["held"] == 0, 5, "some are held")
        assert not broker.leases._taken
