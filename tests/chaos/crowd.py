"""Clients that behave as real ones do: they join, leave, stall, are cut off, and come back with the Last-Event-ID after
the time in the last `retry:`. One thread runs all of them and keeps what each received for the judge.

A client waits as long as the last `retry:` said, as browsers do, but `RETRY_CAP` at most: a server without room says 10
to 30 s, which no test waits for.
"""

from __future__ import annotations

from typing import Sequence

from tests.chaos.diary import Actor, Diary
from tests.chaos.judge import Seen, Story
from tests.chaos.publishers import HOT, ROOMS, USERS
from tests.harness.client import Loop, RawStream
from tests.harness.waiting import until

#: The maximum that a client waits before it comes back, in seconds, whatever `retry:` said.
RETRY_CAP = 1.5

#: What a client waits before it has received a `retry:`, in seconds.
RETRY_FIRST = 0.5

#: Seconds between two checks of all clients.
TICK = 0.02

#: The average seconds between two random actions of a client.
WHIM_SECONDS = 6.0

#: So few bytes are in flight to a client that it stalls soon after it stops reading.
SMALL = {"rcvbuf": 4096, "mss": 536}


class Client:
    """One tab of a browser, over all its connections."""

    def __init__(self, number: int, diary: Diary, ports: Sequence[int], loop: Loop, moody: bool) -> None:
        self.name = f"client-{number}"
        self.diary, self.moody = diary, moody
        self.chance = chance = diary.chance(self.name)
        self.user = chance.choice([*USERS, None])
        self.rooms = chance.sample(ROOMS, chance.randint(1, 4))
        if moody and number % 4 == 0:
            self.rooms = sorted({*self.rooms, HOT})
        self._ports, self._loop = ports, loop
        self._stream: RawStream | None = None
        self._seen: list[Seen] = []
        self._past = bytearray()
        self._last_id = ""
        self._retry = RETRY_FIRST
        self._back_at = self.diary.now() + chance.uniform(0, 1)
        self._whim_at = self._next_whim()
        self._resumes_at: float | None = None

    @property
    def channels(self) -> frozenset[str]:
        return frozenset([*self.rooms, "*", *([f"user:{self.user}"] if self.user else [])])

    def story(self, stayed: bool) -> Story:
        return Story(self.name, self.channels, self._seen, stayed)

    def tick(self) -> None:
        now, stream = self.diary.now(), self._stream
        if stream is None:
            if now >= self._back_at:
                self._come(now)
        elif self._resumes_at is not None:
            if now >= self._resumes_at:
                self._resumes_at = None
                stream.resume()
        elif stream.ended:
            self._cut_off(stream)
        elif self.moody and now >= self._whim_at:
            self._whim(stream)

    def calm_down(self) -> None:
        """Stop the random actions; a stalled client continues to read."""
        self.moody = False
        if self._resumes_at is not None:
            self._resumes_at = 0.0

    def leave(self) -> None:
        """Close the open connection, and keep what was received."""
        if self._stream is not None:
            self._keep(self._stream)
            self._stream = None

    def has(self, text: bytes) -> bool:
        """Return whether the text was received, over all connections."""
        return text in self._past or (self._stream is not None and text in self._stream.body)

    def describe(self) -> str:
        return f"{self.name}: {self._stream.describe() if self._stream else 'not connected'}"

    def _come(self, now: float) -> None:
        headers = {"X-User": self.user, "Last-Event-ID": self._last_id}
        path = "/events?" + "&".join(f"channel={room}" for room in self.rooms)
        port = self.chance.choice(self._ports)
        size = SMALL if self.moody else {}
        try:
            given = {name: value for name, value in headers.items() if value}
            self._stream = RawStream(port, path, given, loop=self._loop, **size)
        except OSError as error:
            self.diary.note(f"{self.name} cannot connect to port {port}: {error!r}")
            self._back_at = now + self._wait()

    def _wait(self) -> float:
        return min(self._retry, RETRY_CAP)

    def _cut_off(self, stream: RawStream) -> None:
        if stream.status not in (None, 200):
            self.diary.fail(f"{self.name} got {stream.status}, after which a browser never comes back: {stream.body!r}")
        self._keep(stream)
        self._stream = None
        self._back_at = self.diary.now() + self._wait()
        self.diary.note(f"{self.name} was cut off ({stream.ended}) and comes back after {self._last_id or 'nothing'}")

    def _keep(self, stream: RawStream, reset: bool = False) -> None:
        stream.close(reset)
        self._past += stream.body
        self._retry = self._retry if stream.retry is None else stream.retry / 1000
        for frame in stream.frames():
            if frame.dispatched:
                self._seen.append(Seen(frame.event, frame.own_id, frame.data, frame.at - self.diary.started))
        # A connection without an id leaves the client's cursor as it was.
        self._last_id = stream.last_event_id or self._last_id

    def _next_whim(self) -> float:
        return self.diary.now() + self.chance.expovariate(1 / WHIM_SECONDS)

    def _whim(self, stream: RawStream) -> None:
        kind = self.chance.choice(["stall", "close", "reset"])
        seconds = self.chance.uniform(0.2, 4)
        if kind == "stall":
            self.diary.note(f"{self.name} stalls for {seconds:.1f} s")
            stream.pause()
            self._resumes_at = self.diary.now() + seconds
        else:
            self._keep(stream, reset=kind == "reset")
            self._stream = None
            away = self.chance.choice([0.0, seconds / 4])  # at once: a reload, which another worker may answer
            self._back_at = self.diary.now() + away
            self.diary.note(f"{self.name} leaves ({kind}) for {away:.1f} s, after {self._last_id or 'nothing'}")
            if not away:
                self._come(self._back_at)
        self._whim_at = self._next_whim()


class Crowd(Actor):
    """A fixed number of clients. With moods, some leave for good, and new ones replace them."""

    def __init__(self, diary: Diary, ports: Sequence[int], seats: int, moody: bool = True) -> None:
        super().__init__("crowd", diary)
        self._ports, self._moody = ports, moody
        self._loop = Loop()
        self._number = 0
        self._gone: list[Client] = []
        self.clients = [self._newcomer() for _ in range(seats)]
        self._swap_at = self._next_swap()

    def play(self) -> None:
        while self.wait(TICK):
            for client in self.clients:
                client.tick()
            if self._moody and self.diary.now() >= self._swap_at:
                self._swap()

    def calm_down(self) -> None:
        self._moody = False
        for client in self.clients:
            client.calm_down()

    def wait_all(self, text: bytes, timeout: float) -> list[str]:
        """Wait until every client has received the text; return those that lack it."""
        try:
            until(lambda: all(client.has(text) for client in self.clients), timeout, "some lack it")
        except AssertionError:
            return [client.describe() for client in self.clients if not client.has(text)]
        return []

    def stories(self) -> list[Story]:
        """Return all stories; call it only after the crowd has stopped."""
        for client in self.clients:
            client.leave()
        self._loop.close()
        return [client.story(True) for client in self.clients] + [client.story(False) for client in self._gone]

    def _newcomer(self) -> Client:
        self._number += 1
        return Client(self._number, self.diary, self._ports, self._loop, self._moody)

    def _next_swap(self) -> float:
        return self.diary.now() + self.chance.uniform(0.3, 1.5)

    def _swap(self) -> None:
        seat = self.chance.randrange(len(self.clients))
        leaver, self.clients[seat] = self.clients[seat], self._newcomer()
        leaver.leave()
        self._gone.append(leaver)
        self.diary.note(f"{leaver.name} leaves for good; {self.clients[seat].name} joins")
        self._swap_at = self._next_swap()
