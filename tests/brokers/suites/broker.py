"""The contract of a broker as a whole: figures, close, namespaces."""

from __future__ import annotations

import pytest

from flask_ssemux.brokers import HistoryLimits, NewEvent, Range, WorkBatch, WorkLease, open_broker
from flask_ssemux.brokers.contract.any_thread import AnyThread
from flask_ssemux.errors import BrokerClosed
from tests.brokers.suites.history import fill


class BrokerSuite:
    """What every engine promises."""

    def test_figures_show_what_is_kept(self, broker):
        fill(broker, ["a", "b"])
        broker.leases.take_user_slot("user:1", 5)
        figures = broker.get_figures()
        assert (figures["events"], figures["channels"], figures["held"]) == (2, 2, 1)
        assert figures["cursor"] == str(broker.history.get_newest_cursor())

    def test_every_method_of_the_contract_can_be_called_from_any_thread(self, broker):
        parts = [
            broker,
            broker.history,
            broker.leases,
            broker.presence,
            broker.reports,
            broker.one_time_keys,
            broker.work,
        ]
        for part in parts:
            (contract,) = [base for base in type(part).__mro__ if AnyThread in base.__bases__]
            for name in contract.__abstractmethods__:
                assert hasattr(getattr(part, name), "__wrapped__"), name

    def test_after_close_everything_raises_and_closing_again_does_not(self, broker, recorder):
        broker.history.get_newest_cursor()
        broker.close()
        broker.close()
        for call in (
            broker.history.get_newest_cursor,
            lambda: broker.history.append_event("a", b""),
            lambda: broker.history.read_events(["a"], 0, 1, 1),
            lambda: broker.history.get_floors(["a"]),
            lambda: broker.history.read_channels({"a": Range(0, 1)}, 1, 1),
            lambda: broker.history.subscribe_channels(["a"]),
            lambda: broker.history.start_delivery(recorder.listener),
            lambda: broker.leases.take_user_slot("a", 1),
            lambda: broker.leases.find_oldest_slot_holder("a"),
            lambda: broker.presence.announce_presence({}, 1.0),
            lambda: broker.presence.get_presence("a"),
            broker.reports.read_reports,
            lambda: broker.reports.register_application("shop", ""),
            lambda: broker.one_time_keys.use_one_time_key("a", 1.0),
            lambda: broker.work.take_work(["a"]),
            lambda: broker.work.keep_work([]),
            lambda: broker.work.append_work([WorkBatch(WorkLease("a", 1), [NewEvent("a", b"")])]),
            lambda: broker.work.begin_run("a", ""),
            lambda: broker.work.read_runs(["a"]),
            lambda: broker.work.cancel_run("a"),
            broker.get_figures,
        ):
            with pytest.raises(BrokerClosed):
                call()
        broker.leases.release_user_slot("a")
        broker.leases.announce_oldest_slot("a", 1.0)
        broker.leases.renew_leases()
        broker.reports.write_report({})
        broker.work.release_work([WorkLease("a", 1)])
        broker.history.unsubscribe_channel("a")


class SharedBrokerSuite:
    """What engines promise that several processes share."""

    @pytest.fixture
    def pair(self, make_shared, shared_url, opened):
        """Two brokers with the same URL and different namespaces."""
        brokers = [open_broker(shared_url, HistoryLimits(), namespace=name) for name in ("shop", "office")]
        for broker in brokers:
            opened(broker)
        return brokers

    def test_namespaces_share_nothing(self, pair, make_shared, recorder):
        shop, office = pair
        office.history.start_delivery(recorder.listener)
        office.history.subscribe_channels(["a"])
        cursor = shop.history.append_event("a", b"data: 1\n\n")
        assert (shop.history.get_newest_cursor(), office.history.get_newest_cursor().sequence) == (cursor, 0)
        assert office.history.get_newest_cursor().epoch != cursor.epoch
        assert office.history.read_events(["a"], 0, cursor.sequence, 10).records == []
        assert shop.leases.take_user_slot("user:1", 1) and office.leases.take_user_slot("user:1", 1)
        assert shop.one_time_keys.use_one_time_key("ticket", 30) and office.one_time_keys.use_one_time_key("ticket", 30)
        shop.reports.write_report({"pid": 1})
        assert (len(shop.reports.read_reports()), office.reports.read_reports()) == (1, [])
        shop.presence.announce_presence({("a", "7"): 1}, 30)
        assert (shop.presence.get_presence("a"), office.presence.get_presence("a")) == ({"7": 1}, {})
        assert make_shared().history.get_newest_cursor().sequence == 0
        office.history.append_event("a", b"data: 2\n\n")
        recorder.wait(1)
        assert [record.body for record in recorder.records] == [b"data: 2\n\n"]

    def test_one_namespace_is_one_store(self, pair, shared_url, opened):
        again = open_broker(shared_url, namespace="shop")
        opened(again)
        assert pair[0].history.append_event("a", b"x") == again.history.get_newest_cursor()
        assert pair[0].store_name == again.store_name != pair[1].store_name
