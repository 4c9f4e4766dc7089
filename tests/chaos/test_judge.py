"""Tests of the judge: a flawless story passes, and each way to break a promise is found and named correctly."""

from __future__ import annotations

import json

import pytest

from tests.chaos.judge import (
    DISORDER,
    DOUBLE,
    EPOCH,
    LOST,
    RESET,
    SILENT,
    STRANGE,
    Event,
    Seen,
    Story,
    judge,
)


def published(*numbers, epoch="aaaa", channel="room:1", start=0.0):
    """Make events `1`, `2` … with these numbers, begun at `start` + their number."""
    return [Event(channel, f"{epoch} {n}", f"{epoch}-{n}", start + n) for n in numbers]


def failed(number, channel="room:1"):
    return Event(channel, f"failed {number}", None, float(number))


def hello(number, epoch="aaaa", at=None):
    return Seen("ssemux.hello", f"{epoch}-{number}", "{}", float(number) if at is None else at)


def seen(*numbers, epoch="aaaa", start=0.0):
    return [Seen("message", f"{epoch}-{n}", f"{epoch} {n}", start + n + 0.1) for n in numbers]


def reset(at, *channels, own_id=None):
    return Seen("ssemux.reset", own_id, json.dumps({"channels": channels, "reason": "epoch"}), at)


def story(*sights, channels=("room:1",), stayed=True):
    return Story("client 1", frozenset(channels), sights, stayed)


def kinds(*args, **options):
    return sorted(fault.kind for fault in judge(*args, **options))


# Stories that are right.


def test_everything_once_and_in_order():
    assert kinds(published(1, 2, 3), [story(hello(0), *seen(1, 2, 3))]) == []


def test_what_came_before_the_first_hello_is_not_due():
    assert kinds(published(1, 2, 3), [story(hello(2), *seen(3))]) == []


def test_a_client_that_came_back_and_got_the_rest():
    assert kinds(published(1, 2, 3, 4), [story(hello(0), *seen(1, 2), hello(2), *seen(3), hello(3), *seen(4))]) == []


def test_a_hello_with_the_newest_cursor_if_nothing_of_its_channels_was_missed():
    others = published(2, 3, channel="room:2")
    assert kinds(published(1, 4) + others, [story(hello(0), *seen(1), hello(3), *seen(4))]) == []


def test_a_client_that_left_needs_what_it_saw_only():
    assert kinds(published(1, 2, 3), [story(hello(0), *seen(1, 2), stayed=False)]) == []
    assert kinds(published(1), [story(stayed=False)]) == []


@pytest.mark.parametrize("came", [True, False])
def test_a_failed_event_may_come_or_not(came):
    late = [Seen("message", "aaaa-2", "failed 2", 2.1)] if came else []
    assert kinds([*published(1, 3), failed(2)], [story(hello(0), *seen(1), *late, *seen(3))]) == []


def test_other_frames_of_the_extension_do_not_matter():
    between = [Seen("ssemux.degraded", None, "{}", 1.5), Seen("ssemux.restored", None, "{}", 1.6)]
    assert kinds(published(1, 2), [story(hello(0), *seen(1), *between, *seen(2))]) == []


LATER = published(1, 2, epoch="bbbb", start=10.0)


@pytest.mark.parametrize("own_id", ["bbbb-0", None], ids=["live", "on return"])
def test_a_lost_store_excuses_what_was_before_the_reset(own_id):
    anew = [reset(10.0, "room:1", own_id=own_id)] + ([] if own_id else [hello(0, "bbbb", 10.0)])
    whole = story(hello(0), *seen(1), *anew, *seen(1, 2, epoch="bbbb", start=10.0))
    assert kinds(published(1, 2, 3) + LATER, [whole], epoch_count=2) == []


def test_a_reset_that_was_cut_off_comes_again():
    twice = [reset(10.0, "room:1"), reset(10.5, "room:1"), hello(0, "bbbb", 10.5)]
    whole = story(hello(0), *seen(1), *twice, *seen(1, 2, epoch="bbbb", start=10.0))
    assert kinds(published(1) + LATER, [whole], epoch_count=2) == []


def test_a_client_of_the_second_epoch_is_not_due_events_of_the_first():
    late = story(hello(0, "bbbb", 9.0), *seen(1, 2, epoch="bbbb", start=10.0))
    assert kinds(published(1, 2, 3) + LATER, [late], epoch_count=2) == []


# Stories that are wrong.


def test_a_lost_event_is_reported_with_what_was_seen_around_it():
    (fault,) = judge(published(1, 2, 3), [story(hello(0), *seen(1, 3))])
    assert str(fault) == (
        "LOST: client 1 (room:1): 1 of 3 events never came:\n"
        "    aaaa-2 on room:1 ('aaaa 2', begun at 2.00); "
        "it saw aaaa-0 ssemux.hello@0.00, aaaa-1 message@1.10, aaaa-3 message@3.10"
    )


def test_losses_at_the_end_and_over_a_reconnect():
    assert kinds(published(1, 2), [story(hello(0), *seen(1))]) == [LOST]
    assert kinds(published(1, 2, 3), [story(hello(0), *seen(1), hello(2), *seen(3))]) == [LOST]


def test_a_loss_before_the_last_id_of_a_client_that_left():
    assert kinds(published(1, 2, 3), [story(hello(0), *seen(1, 3), stayed=False)]) == [LOST]


def test_a_loss_of_one_client_among_many_and_of_one_channel_among_many():
    good, bad = story(hello(0), *seen(1, 2)), story(hello(0), *seen(1))
    assert kinds(published(1, 2), [good, bad, good]) == [LOST]
    both = published(1, channel="room:1") + published(2, channel="user:7")
    assert kinds(both, [story(hello(0), *seen(1), channels=("room:1", "user:7"))]) == [LOST]


def test_an_event_twice_on_one_connection_and_over_a_reconnect():
    assert DOUBLE in kinds(published(1, 2), [story(hello(0), *seen(1, 1, 2))])
    assert DOUBLE in kinds(published(1, 2), [story(hello(0), *seen(1), hello(1), *seen(1, 2))])


def test_one_payload_under_two_ids():
    again = Seen("message", "aaaa-2", "aaaa 1", 2.0)
    assert DOUBLE in kinds(published(1), [story(hello(0), *seen(1), again)])
    twice = [Seen("message", f"aaaa-{n}", "failed 2", 2.1) for n in (2, 3)]
    assert kinds([failed(2)], [story(hello(0), *twice)]) == [DOUBLE]


def test_one_cursor_for_two_events():
    other = Event("room:1", "another", "aaaa-1", 1.0)
    assert DOUBLE in kinds([*published(1), other], [story(hello(0), *seen(1))])


def test_events_out_of_order():
    assert kinds(published(1, 2, 3), [story(hello(0), *seen(1, 3, 2))]) == [DISORDER]


def test_a_hello_that_goes_back():
    assert kinds(published(1, 2), [story(hello(0), *seen(1, 2), hello(1))]) == [DISORDER]


def test_an_event_that_the_hello_already_covers():
    assert kinds(published(1, 2), [story(hello(1), *seen(1, 2))]) == [DISORDER]


def test_events_that_nobody_published():
    assert kinds(published(1), [story(hello(0), *seen(1, 2))]) == [STRANGE]
    assert kinds(published(1, channel="room:2"), [story(hello(0), *seen(1))]) == [STRANGE]
    assert STRANGE in kinds(published(1), [story(hello(0), Seen("message", "aaaa-9", "aaaa 1", 1.0))])
    assert STRANGE in kinds(published(1), [story(hello(0), Seen("message", None, "aaaa 1", 1.0))])
    assert STRANGE in kinds(published(1), [story(hello(0), Seen("message", "aaaa-1", "AAAA 1", 1.0))])


def test_a_reset_where_nothing_was_lost():
    assert kinds(published(1, 2), [story(hello(0), *seen(1), reset(1.5, "room:1"), hello(1), *seen(2))]) == [RESET]
    assert kinds([], [story(reset(0.0, "room:1"), hello(0))]) == [RESET]


def test_a_reset_in_the_same_epoch_although_a_store_was_lost_later():
    early = story(hello(0), *seen(1), reset(1.5, "room:1"), hello(1))
    assert kinds(published(1), [early], epoch_count=2) == [RESET]


def test_a_reset_does_not_excuse_what_follows_it_nor_other_channels():
    anew = story(hello(0), reset(10.0, "room:1", own_id="bbbb-0"), *seen(2, epoch="bbbb", start=10.0))
    assert kinds(LATER, [anew], epoch_count=2) == [LOST]
    whole = story(
        hello(0),
        reset(10.0, "room:1", own_id="bbbb-0"),
        *seen(1, 2, epoch="bbbb", start=10.0),
        channels=("room:1", "room:2"),
    )
    assert kinds(published(1, channel="room:2") + LATER, [whole], epoch_count=2) == [LOST]


def test_an_epoch_that_changes_without_a_reset():
    silent = story(hello(0), *seen(1), hello(0, "bbbb", 10.0), *seen(1, 2, epoch="bbbb", start=10.0))
    assert kinds(published(1) + LATER, [silent], epoch_count=2) == [EPOCH]


def test_an_old_epoch_that_comes_back():
    back = [reset(12.5, "room:1"), hello(1, at=12.5)]
    anew = [reset(9.0, "room:1", own_id="bbbb-0"), *seen(1, 2, epoch="bbbb", start=10.0)]
    whole = story(hello(0), *seen(1), *anew, *back)
    assert kinds(published(1) + LATER, [whole], epoch_count=2) == [EPOCH]


def test_more_epochs_than_lost_stores():
    assert EPOCH in kinds(published(1) + LATER, [story(hello(2, "bbbb", 20.0))])


def test_a_client_that_never_connected():
    assert kinds(published(1), [story()]) == [SILENT]
