"""The contract of one-time keys."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor


class OneTimeKeysSuite:
    """What every engine promises."""

    def test_a_used_key_cannot_be_used_until_its_time_is_over(self, broker, travel):
        assert [broker.one_time_keys.use_one_time_key(key, 30) for key in ("ticket:a", "ticket:a", "ticket:b")] == [
            True,
            False,
            True,
        ]
        travel(broker, 20)
        assert not broker.one_time_keys.use_one_time_key("ticket:a", 30)
        travel(broker, 20)
        assert broker.one_time_keys.use_one_time_key("ticket:a", 30)

    def test_only_one_of_many_threads_uses_a_key(self, broker):
        with ThreadPoolExecutor(16) as pool:
            assert sum(pool.map(lambda _: broker.one_time_keys.use_one_time_key("ticket:a", 30), range(64))) == 1


class SharedOneTimeKeysSuite:
    """What engines promise that several processes share."""

    def test_a_key_that_one_broker_used_is_used_for_all(self, make_shared):
        first, second = make_shared(), make_shared()
        assert [
            first.one_time_keys.use_one_time_key("a", 30),
            second.one_time_keys.use_one_time_key("a", 30),
            second.one_time_keys.use_one_time_key("b", 30),
            first.one_time_keys.use_one_time_key("b", 30),
        ] == [
            True,
            False,
            True,
            False,
        ]
