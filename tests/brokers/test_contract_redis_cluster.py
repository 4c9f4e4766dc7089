"""The Redis broker keeps the contract on a Redis Cluster, as a user with just the rights that docs/redis.md lists.

Each test has a prefix of its own, so that together they use the slots of all nodes.
"""

from __future__ import annotations

import itertools

import pytest

from tests.brokers.suites.broker import BrokerSuite, SharedBrokerSuite
from tests.brokers.suites.delivery import DeliverySuite, SharedDeliverySuite
from tests.brokers.suites.history import HistorySuite, SharedHistorySuite
from tests.brokers.suites.latest import LatestSuite
from tests.brokers.suites.leases import LeasesSuite, SharedLeasesSuite
from tests.brokers.suites.one_time_keys import OneTimeKeysSuite, SharedOneTimeKeysSuite
from tests.brokers.suites.presence import PresenceSuite, SharedPresenceSuite
from tests.brokers.suites.reports import ReportsSuite, SharedReportsSuite
from tests.brokers.suites.roster import RosterSuite, SharedRosterSuite
from tests.brokers.suites.several import SeveralEventsSuite, SharedSeveralEventsSuite
from tests.brokers.suites.work import SharedWorkSuite, WorkSuite
from tests.brokers.test_redis_commands import list_cluster_commands, list_commands

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def login(shared_cluster):
    """The login of a user that may call what docs/redis.md lists, on the keys and channels of the tests."""
    commands = ["+" + name.lower() for name in (*list_commands(), *list_cluster_commands())]
    rights = ["~{test*}:*", "resetchannels", "&{test*}@*", "-@all", *commands]
    shared_cluster.ask_all("ACL", "SETUSER", "shop", "reset", "on", ">s3cret", *rights)
    return "shop:s3cret@"


@pytest.fixture
def redis_url(shared_cluster, login):
    nodes = shared_cluster.url.partition("://")[2]
    return "redis+cluster://%s%s?prefix=test%d" % (login, nodes, next(_numbers))


@pytest.fixture
def shared_redis(shared_cluster, redis_url):
    """The node that has the test's keys."""
    return shared_cluster.find_owner(redis_url.partition("prefix=")[2])


@pytest.fixture
def make(redis):
    return redis


@pytest.fixture
def make_shared(redis):
    return redis


@pytest.fixture
def shared_url(redis_url):
    return redis_url


class TestBroker(BrokerSuite, SharedBrokerSuite):
    pass


class TestDelivery(DeliverySuite, SharedDeliverySuite):
    pass


class TestHistory(HistorySuite, SharedHistorySuite):
    pass


class TestLatest(LatestSuite):
    pass


class TestLeases(LeasesSuite, SharedLeasesSuite):
    pass


class TestOneTimeKeys(OneTimeKeysSuite, SharedOneTimeKeysSuite):
    pass


class TestPresence(PresenceSuite, SharedPresenceSuite):
    pass


class TestRoster(RosterSuite, SharedRosterSuite):
    pass


class TestReports(ReportsSuite, SharedReportsSuite):
    pass


class TestSeveralEvents(SeveralEventsSuite, SharedSeveralEventsSuite):
    pass


class TestWork(WorkSuite, SharedWorkSuite):
    pass
