"""The contract of leases: the slots of users."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from flask_ssemux.brokers import SlotAnswer
from flask_ssemux.worker.user_limit import UserLimit
from tests.harness.waiting import until

TAKEN, FULL, SHARED = SlotAnswer


class Holder:
    """A process, as far as its user slots go.

    :param limit: of each user.
    """

    def __init__(self, broker, limit):
        self.broker, self.limit, self.taken = broker, limit, Counter()
        broker.leases.share_user_slots(limit)

    def take(self, user, holders):
        """Take a slot; if slots may be left, after all holders have written what they took."""
        leases = self.broker.leases
        answer = TAKEN if leases.slots.take_of_share(user) else leases.ask_for_user_slot(user, self.limit)
        if answer is SHARED:
            for holder in holders:
                holder.broker.leases.write_user_slots(user)
            answer = leases.ask_for_user_slot(user, self.limit)
        assert answer is not SHARED
        self.taken[user] += answer is TAKEN
        return answer is TAKEN

    def release(self, user):
        if self.taken[user]:
            self.taken[user] -= 1
            self.broker.leases.release_user_slot(user)
            until(self.is_written, 5, "a released slot was not written")

    def is_written(self):
        """Return whether nothing is to be written later, as the leases of Redis and PostgreSQL do."""
        writer = getattr(self.broker.leases, "_writer", None)
        return writer is None or writer.is_idle


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

    def test_a_process_with_a_share_takes_slots_without_the_store_and_others_count_them_as_taken(self, make_shared):
        first, second, third = (make_shared() for _ in range(3))
        for broker in (first, second):
            broker.leases.share_user_slots(32)
            assert [broker.leases.slots.take_of_share("user:1") for _ in range(3)] == [True, True, False]
        assert not first.leases.slots.written and first.get_figures()["held"] == 2
        ask = third.leases.ask_for_user_slot
        assert [ask("user:1", 32) for _ in range(29)] == [TAKEN] * 28 + [SHARED]
        first.leases.release_user_slot("user:1")
        first.leases.write_user_slots("user:1")
        assert [ask("user:1", 32) for _ in range(2)] == [TAKEN, SHARED]  # the other share was taken whole
        second.leases.write_user_slots("user:1")
        assert ask("user:1", 32) is FULL
        assert not first.leases.slots.take_of_share("user:1") and not first.leases.take_user_slot("user:1", 32)

    def test_streams_that_open_while_the_first_share_is_requested_take_their_slots_of_it(self, make_shared):
        """Otherwise each of them asks the store, and appends wait behind them."""
        broker = make_shared()
        limit, slots = UserLimit(broker, 32), broker.leases.slots
        begin = threading.Barrier(8)

        def open_stream(number):
            begin.wait(10)
            return limit.take_user_slot("user %d" % number)

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(open_stream, range(8)))
        assert slots.total == slots.count_unwritten() == 8

    def test_the_shares_of_all_processes_leave_half_of_the_slots(self, make_shared):
        brokers = [make_shared() for _ in range(10)]
        for broker in brokers:
            broker.leases.share_user_slots(32)
        assert [broker.leases.slots.share for broker in brokers] == [2] * 8 + [0] * 2
        brokers[0].close()
        brokers[9].leases.renew_leases()
        assert brokers[9].leases.slots.share == 2
        few = make_shared()
        few.leases.share_user_slots(15)
        assert few.leases.slots.share == 0

    def test_a_share_that_begins_has_no_slots_of_a_crowded_key(self, make_shared):
        first, second = make_shared(), make_shared()
        for _ in range(31):
            assert first.leases.take_user_slot("user:1", 32)
        second.leases.share_user_slots(32)
        assert second.leases.slots.share == 2 and second.leases.slots.take_of_share("user:2")
        assert not second.leases.slots.take_of_share("user:1")
        assert [second.leases.take_user_slot("user:1", 32) for _ in range(2)] == [True, False]

    def test_a_key_that_is_no_longer_crowded_is_shared_again(self, make_shared):
        first, second = make_shared(), make_shared()
        for broker in (first, second):
            broker.leases.share_user_slots(32)
        for _ in range(30):
            assert first.leases.take_user_slot("user:1", 32)
        second.leases.write_user_slots("user:1")
        second.leases.renew_leases()
        assert second.leases.slots.take_of_share("user:1")  # two slots are left
        second.leases.release_user_slot("user:1")
        assert [first.leases.ask_for_user_slot("user:1", 32) for _ in range(2)] == [SHARED, SHARED]
        second.leases.write_user_slots("user:1")
        assert first.leases.take_user_slot("user:1", 32)
        second.leases.renew_leases()
        assert not second.leases.slots.take_of_share("user:1")  # one is left, and a share has two
        assert second.leases.take_user_slot("user:1", 32)

    def test_the_share_of_a_dead_process_is_free_at_once(self, make_shared, shared_url):
        script = "import sys; from flask_ssemux.brokers import open_broker; b = open_broker(sys.argv[1])\n"
        script += "b.leases.share_user_slots(32); print(b.leases.slots.share, flush=True); sys.stdin.read()"
        command = [sys.executable, "-c", script, shared_url]
        holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert holder.stdout.readline() == "2\n"
        broker = make_shared()
        assert [broker.leases.ask_for_user_slot("user:1", 32) for _ in range(31)] == [TAKEN] * 30 + [SHARED]
        holder.kill()
        holder.communicate(timeout=10)
        assert [broker.leases.ask_for_user_slot("user:1", 32) for _ in range(3)] == [TAKEN, TAKEN, FULL]

    def test_a_share_that_expired_is_not_used(self, make_shared, monkeypatch):
        broker = make_shared()
        broker.leases.share_user_slots(32)
        assert broker.leases.slots.take_of_share("user:1")
        broker.leases.slots.renew_share(time.monotonic())
        assert not broker.leases.slots.take_of_share("user:1")
        broker.leases.renew_leases()
        assert broker.leases.slots.take_of_share("user:1")

    @pytest.mark.parametrize("seed", range(3))
    def test_the_limit_is_exact_whoever_takes_and_releases(self, make_shared, seed):
        """Processes come and go, take and release, in a random order. Whenever one finds that slots may be left, all
        others write what they took, as workers do."""
        chance, limit, users = random.Random(seed), 16 + seed * 16, ["user:1", "user:2"]
        holders: list[Holder] = []
        for _ in range(600):
            if len(holders) < 2 or (len(holders) < 5 and chance.random() < 0.02):
                holders.append(Holder(make_shared(), limit))
            holder, user, step = chance.choice(holders), chance.choice(users), chance.random()
            if step < 0.55:
                taken = sum(it.taken[user] for it in holders)
                assert holder.take(user, holders) == (taken < limit), (taken, limit)
            elif step < 0.9:
                holder.release(user)
            elif step < 0.97:
                holder.broker.leases.renew_leases()
            elif len(holders) > 2:
                holders.remove(holder)
                holder.broker.close()

    def test_users_who_left_are_not_remembered(self, make_shared):
        broker = make_shared()
        for number in range(50):
            assert broker.leases.take_user_slot("user:%d" % number, 1)
            broker.leases.release_user_slot("user:%d" % number)
        broker.leases.release_user_slot("user:never")
        until(lambda: broker.get_figures()["held"] == 0, 5, "some are held")
        assert not broker.leases.slots.taken
