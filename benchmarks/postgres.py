"""Measures the PostgreSQL broker: publishes a second, latencies, and what publishing costs the application's own
transactions, which pgbench makes.

pgbench runs alone, beside processes that publish at a rate, and, as the control, beside as many processes that insert
a row of the same size at the same rate, each in a transaction of its own, through psycopg. The difference of the last
two is what is ours; the rest is what any transactions cost that share the cores. The three take turns, in short rounds,
so that all of them meet the machine's better and worse moments.
"""

from __future__ import annotations

import os
import re
import subprocess
from statistics import median
from typing import NamedTuple, Sequence

from . import process, publish
from .fleet import Fleet
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

#: The names of the cases.
ALONE, PUBLISHING, INSERTING = "alone", "beside publishers", "beside plain inserts"

#: The processes of each case.
KINDS = {ALONE: "", PUBLISHING: "publisher", INSERTING: "inserter"}


class Case(NamedTuple):
    """One round.

    :param rate: pgbench's transactions a second.
    :param beside: the events or rows a second beside them.
    :param server: CPU seconds a second of the server's processes, without those that serve pgbench.
    :param clients: the same of the processes that publish or insert.
    """

    rate: float
    beside: float
    server: float
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
    with PostgresServer(ours) as server:
        found = _measure_pgbench(server, rate, seconds, rounds, mode, ours, theirs)
    head = ("", "measured", "target")
    rows = [
        ["publishes a second, 1 process", "%.0f" % rates[1], ""],
        ["publishes a second, 4 processes", "%.0f" % rates[4], "%d" % RATE],
        ["publish to receipt, the same worker, median ms", "%.2f" % median(same), "< 2"],
        ["publish to receipt, another worker, median ms", "%.2f" % median(other), "< 4"],
    ]
    return "\n\n".join([table(head, rows), _make_table(found)])


def _measure_pgbench(
    server: PostgresServer, rate: float, seconds: float, rounds: int, mode: str, ours: int, theirs: int
) -> dict[str, list[Case]]:
    _run_pgbench(server, ours, "-i", "-q", "-s", str(SIZE))
    server.ask("CREATE TABLE plain (id bigserial PRIMARY KEY, channel text, body bytea)")
    found: dict[str, list[Case]] = {name: [] for name in KINDS}
    with Fleet(server.url + "?synchronous_commit=" + mode) as fleet:
        for kind, count in (("worker", WORKERS), ("publisher", PROCESSES), ("inserter", PROCESSES)):
            fleet.start(kind, count, theirs)
        server.ask("CHECKPOINT")
        _measure_case(server, fleet, ALONE, rate, seconds, ours)  # warms up
        for number in range(rounds):
            for name, cases in found.items():
                cases.append(_measure_case(server, fleet, name, rate, seconds, ours))
                progress("round %d of %d: pgbench %s: %.0f a second" % (number + 1, rounds, name, cases[-1].rate))
    return found


def _measure_case(server: PostgresServer, fleet: Fleet, name: str, rate: float, seconds: float, core: int) -> Case:
    beside = fleet.members[KINDS[name]] if KINDS[name] else []
    pids = server.list_processes()
    spent, theirs = _read_cpu(pids), _read_cpu([member.pid for member in beside])
    for number, member in enumerate(beside):
        member.send(
            "publish", users=1000, seed=number, rate=rate / len(beside), seconds=seconds, events=10_000_000, callers=1
        )  # fmt: skip
    text = _run_pgbench(server, core, "-n", "-c", str(CLIENTS), "-j", str(THREADS), "-T", "%d" % seconds)
    published = sum(len(member.receive()) for member in beside)
    spent, theirs = _read_cpu(pids) - spent, _read_cpu([member.pid for member in beside]) - theirs
    tps = float(re.findall(r"tps = ([0-9.]+)", text)[-1])
    return Case(tps, published / seconds, spent / seconds, theirs / seconds)


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
        more = [
            (case.server - alone.server) / case.beside * 1e6 for case, alone in zip(cases, found[ALONE]) if case.beside
        ]
        rows.append([
            name, spread([case.rate for case in cases], "%.0f"), spread(parts, "%.0f"),
            "%d" % LEFT if name == PUBLISHING else "", "%.0f" % median(case.beside for case in cases),
            spread(more, "%.0f") if more else "",
            spread([case.clients / case.beside * 1e6 for case in cases], "%.0f") if more else "",
        ])  # fmt: skip
    head = ("pgbench, %d connections" % CLIENTS, "transactions a second", "% of alone", "target",
            "beside it: a second", "server: µs CPU of each", "its client: µs CPU")  # fmt: skip
    return table(head, rows)
