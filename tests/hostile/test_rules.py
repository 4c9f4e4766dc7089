"""No client receives what a rule denies: random users, channels, rules and publishers, on every broker, three workers.

Each stream's answer, its events, and the questions to its rules are compared with a small model. Rules change during
the test: a stream gets what they allowed when it connected. The seed is `--chaos-seed`; a failure prints it.
"""

from __future__ import annotations

import json
import os
import random
from urllib.parse import quote

import pytest

from tests.harness.client import Loop, RawStream
from tests.harness.engines import ALL
from tests.hostile import model
from tests.hostile.model import Event, Policy, Seen, Wish

STEPS = 400

USERS = [None, None, "7", "7", "8", "7:8", "ann", "<id>", "*", "user:7", "ssemux.x", "é %s\u2028", "0"]
PATTERNS = [
    "jobs:<id>", "jobs:<id>:<part>", "jobs:1", "news", "<kind>:<id>", "team:<t>:log", "a.c", "x-<a>:<b>", "use<r>:7",
]  # fmt: skip
CHANNELS = [
    "jobs:1", "jobs:1", "jobs:2", "jobs:1:log", "jobs:<id>", "jobs:", "news", "news:1", "team:a:log", "team:a:log:b",
    "a.c", "abc", "x-1:2", "x-:2", "kind:é", "jobs:%s", "JOBS:1", "user:7", "user:8", "user:7:8", "user:ann", "*",
    "ssemux.x",
]  # fmt: skip


class History:
    """One run: what is open, what was published, what the model was asked."""

    def __init__(self, site, policy_file, asked_file, seed):
        self.site, self.policy_file, self.asked_file = site, policy_file, asked_file
        self.chance = random.Random(seed)
        self.policy = Policy(**json.loads(policy_file.read_text()))
        self.events = []
        self.cursors = []
        self.open = []
        self.asked = {}
        self.answers = []
        self.loop = Loop()

    def run(self, steps):
        actions = [self.come] * 6 + [self.publish] * 10 + [self.change] * 3 + [self.leave]
        self.change()
        for _ in range(steps):
            self.chance.choice(actions)()
        self.finish()

    def change(self):
        """Grant or withdraw a permission."""
        grants = self.policy.grants
        for _ in range(self.chance.randrange(1, 12)):
            number, values = self.policy.rule_of(self.chance.choice(CHANNELS))
            if number is not None:
                grants.append([number, self.chance.choice(USERS), values])
        while len(grants) > 40:
            grants.pop(self.chance.randrange(len(grants)))
        fresh = self.policy_file.with_suffix(".new")
        fresh.write_text(json.dumps({"rules": self.policy.rules, "grants": grants}))
        os.replace(str(fresh), str(self.policy_file))

    def publish(self):
        channels = self.chance.sample(CHANNELS[:-1], self.chance.randrange(1, 6))
        self.publish_to(channels)

    def publish_to(self, channels):
        """Publish one event to each channel; return the cursor of the last one."""
        numbers = range(len(self.events), len(self.events) + len(channels))
        answers = self.site.publish(*([channel, {"n": number}, None] for channel, number in zip(channels, numbers)))
        for channel, number, answer in zip(channels, numbers, answers):
            self.cursors.append(answer["cursor"])
            self.events.append(Event(model.parse_sequence(answer["cursor"]), channel, number))
        return self.cursors[-1]

    def come(self):
        user = self.chance.choice(USERS)
        named = self.chance.sample(CHANNELS, self.chance.choice([0, 1, 1, 1, 2, 3]))
        if self.chance.random() < 0.6:  # mostly channels that it may read
            mine = [channel for channel in dict.fromkeys(CHANNELS) if self.policy.answer(user, [channel])[0] == 200]
            named = self.chance.sample(mine, min(len(mine), 4))
        new = self.chance.sample(named, 1) if named and self.chance.random() < 0.2 else []
        last = self.chance.choice(self.cursors) if self.cursors and self.chance.random() < 0.5 else None
        tag = str(len(self.asked))
        status, asked = self.policy.answer(user, named)
        self.asked[tag] = [[tag, number, user, values] for number, values in asked]
        self.answers.append(status)
        head = self.events[-1].sequence if self.events else 0
        pairs = [("channel", name) for name in named] + [("new", name) for name in new] + [("tag", tag)]
        path = "/events?" + "&".join("%s=%s" % (name, quote(value, safe="")) for name, value in pairs)
        headers = {name: value for name, value in (("X-User", user and quote(user)), ("Last-Event-ID", last)) if value}
        stream = RawStream(self.site.port, path, headers, loop=self.loop)
        stream.wait_headers(10)
        assert stream.status == status, (user, named, self.policy, stream.describe())
        if status != 200:
            stream.wait_end(5)
            self.judge_refusal(stream, named)
            stream.close()
            return
        stream.wait_for(b"ssemux.hello", 10)
        channels = [*named, *model.own_channels(user)]
        self.open.append((stream, Wish(channels, new, head), model.parse_sequence(last) if last else None))

    def judge_refusal(self, stream, named):
        refusal = json.loads(stream.body)
        assert set(refusal) == {"error", "message", "channel"} and refusal["channel"] in named
        message = refusal["message"].replace(repr(refusal["channel"]), "")
        others = [name for name in CHANNELS if name not in named and len(name) > 3]
        assert not [name for name in others if name in message], refusal

    def leave(self):
        if self.open:
            stream, wish, last = self.open.pop(self.chance.randrange(len(self.open)))
            stream.close()
            self.judge(stream, wish, last, is_whole=False)

    def finish(self):
        """Send everyone a last event; then compare what each stream received with the model."""
        last = self.publish_to(["*"])
        for stream, *rest in self.open:
            stream.wait_for(b"id: %s\n" % last.encode(), 15)
            self.judge(stream, *rest)
        self.judge_questions()

    def judge(self, stream, wish, last, is_whole=True):
        """:param last: the sequence of the last event that its client had received; None for a new client."""
        frames = stream.events()
        hello = next(frame for frame in frames if frame.event == "ssemux.hello")
        got = [model.seen(frame) for frame in frames if frame.event == "message"]
        begin = model.parse_sequence(hello.own_id)
        assert begin <= max(wish.head, last or 0), "a stream cannot begin in the future: %s" % stream.describe()
        start = begin if last is None else last
        trouble = model.judge(got, wish, self.known(got, start, is_whole), start)
        assert not trouble, "%s; %r, after %d; %s" % (trouble, wish, start, stream.describe())
        assert not stream.events("ssemux.reset"), stream.describe()

    def known(self, got, start, is_whole):
        """Return the events that a stream can have received: if its client left, up to the last one that it
        received.
        """
        upto = self.events[-1].sequence if is_whole else max([start, *(one.sequence for one in got)])
        return [event for event in self.events if event.sequence <= upto]

    def judge_questions(self):
        """Check that each rule was asked once for a stream and channel, about the right user, and only if it
        mattered.
        """
        asked = {tag: [] for tag in self.asked}
        for line in self.asked_file.read_text().splitlines() if self.asked_file.exists() else ():
            entry = json.loads(line)
            asked[entry[0]].append(entry)
        assert asked == self.asked

    def close(self):
        for stream, *_ in self.open:
            stream.close()
        self.loop.close()


@pytest.mark.engines("memory", "sqlite", "postgres", "cluster", within=ALL)
def test_no_client_receives_what_a_rule_denies(request, fortress, tmp_path, engine, broker_url):
    seed = "%s %s" % (request.config.getoption("--chaos-seed"), engine)
    rules = random.Random(seed).sample(PATTERNS, len(PATTERNS))
    policy, asked = tmp_path / "policy.json", tmp_path / "asked"
    policy.write_text(json.dumps({"rules": rules, "grants": []}))
    env = {
        "SSEMUX_BROKER": broker_url,
        "SSEMUX_MAX_STREAMS_PER_USER": "1000",
        "POLICY": str(policy),
        "ASKED": str(asked),
    }
    history = History(fortress(1 if engine == "memory" else 3, **env), policy, asked, seed)
    try:
        history.run(STEPS)
    except BaseException as error:
        raise AssertionError("with --chaos-seed %s: %s" % (request.config.getoption("--chaos-seed"), error)) from error
    finally:
        history.close()
    assert len(history.events) > 300 and len(history.open) > 20, "too little happened to say anything"
    assert sum(status != 200 for status in history.answers) > 20


def test_the_model_finds_each_fault():
    """A judge that never finds a fault is useless."""
    events = [Event(1, "a", 0), Event(2, "user:7", 1), Event(3, "a", 2), Event(4, "b", 3)]
    fine = [Seen(1, "a", 0), Seen(3, "a", 2)]
    a, eight = Wish(["a", "*"]), Wish(["a", "user:8"])
    assert model.judge(fine, a, events) is None
    assert "may not read" in model.judge([*fine, Seen(4, "b", 3)], a, events)
    assert "may not read" in model.judge([Seen(2, None, 1)], eight, events)
    assert "should have" in model.judge(fine[:1], a, events)
    assert "should have" in model.judge([*fine, fine[1]], a, events)
    assert "should have" in model.judge(fine[::-1], a, events)
    assert "was sent as" in model.judge([Seen(1, "b", 0)], a, events)
    assert model.judge(fine[1:], Wish(["a"], ["a"], 2), events) is None
