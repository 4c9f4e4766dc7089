"""The publishers: over HTTP to any worker that answers, and from a plain process, which is the tests' own.

Each event is tried once. One that is not answered with a cursor counts as failed, though it may have been stored.
"""

from __future__ import annotations

import http.client
import json
from typing import Callable, Sequence

import flask_ssemux
from tests.chaos.diary import Actor, Diary
from tests.chaos.judge import Event

ROOMS = ["room:%d" % number for number in range(8)]
USERS = ["u%d" % number for number in range(10)]
HOT = ROOMS[0]

#: The maximum that an answer may take, in seconds: more than a broker's WAIT, which is 2.
ANSWER_SECONDS = 10.0

#: The longest pause between two events of one publisher, in seconds.
PAUSE = 0.15

#: Events that one publisher sends now and then without a pause: more than a stalled client's queue holds.
BURST = 120

#: Publishes one event: channel, payload -> cursor, or an exception if publishing failed.
Publish = Callable[[str, str], str]


class Failed(Exception):
    """The event was not accepted, or its fate is unknown."""


def over_http(port: int, channel: str, payload: str) -> str:
    """Publish with `POST /publish` of tests/apps/plain.py."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS)
    try:
        body = json.dumps({"channel": channel, "data": payload})
        connection.request("POST", "/publish", body, {"Content-Type": "application/json"})
        answer = json.loads(connection.getresponse().read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Failed(f"port {port}: {error!r}") from error
    finally:
        connection.close()
    if "cursor" in answer:
        return str(answer["cursor"])
    if answer.get("error") != "BrokerUnavailable":
        raise AssertionError(f"port {port} refuses {channel} {payload[:40]!r}: {answer}")
    raise Failed(f"port {port}: {answer['message']}")


def from_process(publisher: flask_ssemux.Publisher) -> Publish:
    def publish(channel: str, payload: str) -> str:
        try:
            return publisher.publish(channel, payload)
        except flask_ssemux.BrokerUnavailable as error:
            raise Failed(str(error)) from error

    return publish


class Publisher(Actor):
    """Publishes random events, with pauses and an occasional burst."""

    def __init__(self, name: str, diary: Diary, publish: Publish) -> None:
        super().__init__(name, diary)
        self._publish = publish
        self._count = 0

    def play(self) -> None:
        chance = self.chance
        while self.wait(chance.uniform(0, PAUSE)):
            if chance.random() < 0.01:
                self._burst()
            else:
                self.try_one(self._channel(), chance.randrange(400))

    def try_one(self, channel: str, size: int = 0) -> str | None:
        """Publish one event; return its cursor, or None if it failed."""
        self._count += 1
        payload = f"{self.name} {self._count} ".ljust(size, ".")
        started = self.diary.now()
        cursor = None
        try:
            cursor = self._publish(channel, payload)
        except Failed as error:
            self.diary.note(f"{self.name} could not publish {self._count}: {error}")
        self.diary.add(Event(channel, payload, cursor, started))
        return cursor

    def _burst(self) -> None:
        self.diary.note(f"{self.name} begins a burst on {HOT}")
        for _ in range(BURST):
            if self.try_one(HOT, 700) is None:
                return

    def _channel(self) -> str:
        kind = self.chance.random()
        if kind < 0.1:
            return "*"
        return "user:" + self.chance.choice(USERS) if kind < 0.3 else self.chance.choice(ROOMS)


def http_publisher(number: int, diary: Diary, ports: Sequence[int]) -> Publisher:
    """Make a publisher that uses any of these ports at random, as a load balancer would."""
    name = f"http-publisher-{number}"
    chance = diary.chance(name + "/port")
    return Publisher(name, diary, lambda channel, payload: over_http(chance.choice(ports), channel, payload))
