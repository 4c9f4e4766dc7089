"""Streams that are opened at the same time ask the broker once. In processes that gevent has patched, where it is known
what runs at the same time."""

from __future__ import annotations

import subprocess
import sys
import textwrap

#: A history that answers when it is told to, with the number of the call and the channels.
BEGIN = """
import gevent.monkey
gevent.monkey.patch_all()
import gevent, gevent.event
from flask_ssemux.brokers import SubscriptionStart
from flask_ssemux.errors import BrokerBehind
from flask_ssemux.hub.subscription_rounds import SubscriptionRounds

class History:
    def __init__(self):
        self.calls, self.answers, self.error = [], gevent.event.Event(), None
        self.answers.set()

    def subscribe_channels(self, channels):
        number = len(self.calls)
        self.calls.append(sorted(channels))
        self.answers.wait()
        if self.error:
            raise self.error
        return SubscriptionStart(number, [])

history = History()
rounds = SubscriptionRounds(history)

def subscribe(*channels):
    return gevent.spawn(rounds.subscribe_channels, channels)
"""


def run(script):
    code = BEGIN + textwrap.dedent(script)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_streams_that_come_together_ask_once():
    run(
        """
        together = [subscribe("a", "b"), subscribe("b"), subscribe("c")]
        gevent.joinall(together)
        assert history.calls == [["a", "b", "c"]]
        assert [one.value for one in together] == [(0, [])] * 3
        assert rounds.subscribe_channels(["d"]).after == 1
        """
    )


def test_a_round_does_not_wait_for_the_answer_to_the_round_before():
    run(
        """
        history.answers.clear()
        first = subscribe("a")
        gevent.sleep(0.01)
        second = [subscribe("b"), subscribe("c")]
        gevent.sleep(0.01)
        assert history.calls == [["a"], ["b", "c"]]
        history.answers.set()
        gevent.joinall([first, *second])
        assert [one.value.after for one in (first, *second)] == [0, 1, 1]
        """
    )


def test_an_error_of_the_broker_is_that_of_all():
    run(
        """
        history.error = BrokerBehind("the history began anew")
        together = [subscribe("a"), subscribe("b")]
        for one in together:
            try:
                one.get()
            except BrokerBehind as error:
                assert str(error) == "the history began anew"
            else:
                raise AssertionError("no error")
        history.error = None
        assert subscribe("a").get().after == 1
        """
    )


def test_the_end_of_the_request_that_asks_does_not_end_the_others():
    run(
        """
        for wait in (0, 0.01):
            history.answers.clear()
            calls = len(history.calls)
            together = [subscribe("a"), subscribe("b"), subscribe("c")]
            gevent.sleep(wait)
            together[0].kill()
            history.answers.set()
            gevent.joinall(together[1:])
            assert history.calls[-1] == ["b", "c"], history.calls
            assert [one.value.after for one in together[1:]] == [len(history.calls) - 1] * 2
        assert subscribe("d").get()
        """
    )
