"""Measures the PostgreSQL broker: publishes a second, latencies, and what publishing costs the application's own
transactions, which pgbench makes.

pgbench runs alone, beside processes that publish at a rate, and, as controls, beside as many processes that insert a
row of the same size at the same rate, each in a transaction of its own, through psycopg: without and with ``NOTIFY``,
which as many connections hear of as there are workers. What is left to the first control is what is ours; the second
one is the least that a broker on PostgreSQL costs. They take turns, in short rounds, so that all of them meet the
machine's better and worse moments.

Then pgbench has a rate of its own, as an application has, and the processes publish as fast as they can.
"""

from __future__ import annotations

import os
import re
import subprocess
from statistics import median
from typing import Mapping, NamedTuple, Sequence

from . import process, publish
from .fleet import Fleet, Member
from .postgres_server import PostgresServer, find_program
from .table import progress, spread, table

#: pgbench's connections, threads, and the size of its tables (a million rows).
CLIENTS, THREADS, SIZE = 4, 1, 10

#: Processes that publish or insert.
PROCESSES = 4

#: Simulated workers that hear of the events: they are there in all cases.
WORKERS = 2

#: The targets: publishes a second of four processes; the part of pgbench's rate that is left.
RATE, LEFT = 4000, 95

#: Transactions a second of applications that do not fill the server, and the rounds of each.
OWN_RATES, OWN_ROUNDS = (200, 700), 3

#: The names of the cases.
ALONE, PUBLISHING = "alone", "beside publishers"
INSERTING, NOTIFYING = "beside plain inserts", "beside inserts with NOTIFY"

#: The processes of each case.
KINDS = {ALONE: "", PUBLISHING: "publisher", NOTIFYING: "notifier", INSERTING: "inserter"}


class Case(NamedTuple):
    """One round.

    :param rate: pgbench's transactions a second.
    :param latency: their time, ms.
    :param beside: the events or rows a second beside them.
    :param clients: CPU seconds a second of the processes that publish or insert.
    """

    rate: float
    latency: float
    beside: float
    clients: float


def measure_postgres(rate: float, seconds: float, rounds: int, mode: str) -> str:
    """Return the tables.

    :param rate: publishes, or inserts, a second of all processes together.
    :param seconds: of each round of pgbench.
    :param mode: ``synchronous_commit`` of the publishers and the inserts; pgbench's is the server's, ``on``.
    """
    ours, theirs = process.choose_cores()
    with PostgresServer() as server:
        url = server.url + "?synchronous_commit=" + mode
        rates = {count: publish.measure_rate(url, count) for count in publish.CROWDS}
        same, other = publish.measure_latencies(url, 2, 100, 20.0)
    with PostgresServer(ours) as server, Fleet(server.url + "?synchronous_commit=" + mode) as fleet:
        _prepare_pgbench(server, fleet, ours, theirs)
        full = _measure_cases(server, fleet, KINDS, ours, rounds, Load(rate, seconds))
        kinds = {name: KINDS[name] for name in (ALONE, PUBLISHING)}
        own = [_measure_cases(server, fleet, kinds, ours, OWN_ROUNDS, Load(0, seconds, it)) for it in OWN_RATES]
    head = ("", "measured", "target")
    rows = [
        ["publishes a second, 1 process", "%.0f" % rates[1], ""],
        ["publishes a second, 4 processes", "%.0f" % rates[4], "%d" % RATE],
        ["publish to receipt, the same worker, median ms", "%.2f" % median(same), "< 2"],
        ["publish to receipt, another worker, median ms", "%.2f" % median(other), "< 4"],
    ]
    return "\n\n".join([table(head, rows), _make_table(full), _make_own_table(own)])


class Load(NamedTuple):
    """What runs at a time.

    :param rate: publishes, or inserts, a second of all processes together; 0: as many as possible.
    :param seconds: how long.
    :param own: pgbench's transactions a second; 0: as many as possible.
    """

    rate: float
    seconds: float
    own: float = 0


def _prepare_pgbench(server: PostgresServer, fleet: Fleet, ours: int, theirs: int) -> None:
    _run_pgbench(server, ours, "-i", "-q", "-s", str(SIZE))
    server.ask("CREATE TABLE plain (id bigserial PRIMARY KEY, channel text, body bytea)")
    for kind in ("worker", "hearer"):
        fleet.start(kind, WORKERS, theirs)
    for kind in filter(None, KINDS.values()):
        fleet.start(kind, PROCESSES, theirs)
    server.ask("CHECKPOINT")
    _measure_case(server, [], Load(0, 8), ours)  # warms up


def _measure_cases(
    server: PostgresServer, fleet: Fleet, kinds: Mapping[str, str], core: int, rounds: int, load: Load
) -> dict[str, list[Case]]:
    found: dict[str, list[Case]] = {name: [] for name in kinds}
    for number in range(rounds):
        for name, cases in found.items():
            beside = fleet.members[kinds[name]] if kinds[name] else []
            cases.append(_measure_case(server, beside, load, core))
            progress("round %d of %d: pgbench %s: %.0f a second" % (number + 1, rounds, name, cases[-1].rate))
    return found


def _measure_case(server: PostgresServer, beside: Sequence[Member], load: Load, core: int) -> Case:
    pids = [member.pid for member in beside]
    spent = _read_cpu(pids)
    for number, member in enumerate(beside):
        rate = load.rate / len(beside)
        member.send("publish", users=1000, seed=number, rate=rate, seconds=load.seconds, events=10_000_000, callers=1)
    own = ["-R", "%d" % load.own] if load.own else []
    text = _run_pgbench(server, core, "-n", "-c", str(CLIENTS), "-j", str(THREADS), "-T", "%d" % load.seconds, *own)
    published = sum(len(member.receive()) for member in beside)
    tps, latency = _find_figure(text, "tps"), _find_figure(text, "latency average")
    return Case(tps, latency, published / load.seconds, (_read_cpu(pids) - spent) / load.seconds)


def _find_figure(text: str, name: str) -> float:
    return float(re.findall(name + " = ([0-9.]+)", text)[-1])


def _read_cpu(pids: Sequence[int]) -> float:
    return sum(process.read_cpu(pid) for pid in pids if os.path.exists("/proc/%d" % pid))


def _run_pgbench(server: PostgresServer, core: int, *options: str) -> str:
    """Run pgbench on the server's core; return its output."""
    command = [find_program("pgbench") or "pgbench", *options, "-h", "127.0.0.1", "-p", str(server.port)]
    done = subprocess.run(
        [*command, "-U", "postgres", "postgres"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        preexec_fn=process.pin_child(core),
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError("pgbench failed: " + done.stdout[-1000:])
    return done.stdout


def _make_table(found: dict[str, list[Case]]) -> str:
    rows = []
    for name, cases in found.items():
        parts = [case.rate / alone.rate * 100 for case, alone in zip(cases, found[ALONE])]
        has_others = name != ALONE
        rows.append([
            name, spread([case.rate for case in cases], "%.0f"), spread(parts, "%.0f"),
            "%d" % LEFT if name == PUBLISHING else "", "%.0f" % median(case.beside for case in cases),
            spread([case.clients / case.beside * 1e6 for case in cases], "%.0f") if has_others else "",
        ])  # fmt: skip
    head = ("pgbench, %d connections" % CLIENTS, "transactions a second", "% of alone", "target",
            "beside it: a second", "its client: µs CPU of each")  # fmt: skip
    return table(head, rows)


def _make_own_table(measured: Sequence[dict[str, list[Case]]]) -> str:
    rows = []
    for own, found in zip(OWN_RATES, measured):
        for name, cases in found.items():
            parts = [case.rate / alone.rate * 100 for case, alone in zip(cases, found[ALONE])]
            rows.append([
                "%d a second, %s" % (own, name), spread([case.rate for case in cases], "%.0f"), spread(parts, "%.0f"),
                "%d" % LEFT if name == PUBLISHING else "", spread([case.latency for case in cases], "%.1f"),
                "%.0f" % median(case.beside for case in cases),
            ])  # fmt: skip
    head = ("pgbench at a rate", "transactions a second", "% of alone", "target", "ms each", "beside it: a second")
    return table(head, rows)
