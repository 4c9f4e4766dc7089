"""What is checked in a file: pure functions, lines in, reports out.

No files, no clock, no database, no Flask. A check is a generator that yields its
report every so many lines, so that its caller decides on the pace.
"""

from __future__ import annotations

import csv
import itertools

MAX_LINE = 10000  # characters; longer lines are reported in text files
MAX_NOTES = 5  # problems told in words; the rest are only counted
DELIMITERS = ",;\t|"


class Unreadable(Exception):
    """The file breaks its format so badly that no further row can be told apart."""


class Report:
    """How far a check has come, and what it has found.

    :ivar done: lines read, int.
    :ivar rows: CSV: records below the header; text: lines, int.
    :ivar problems: number of problems, int.
    :ivar notes: the first problems in words, list of str.
    """

    def __init__(self):
        self.done = 0
        self.rows = 0
        self.problems = 0
        self.notes = []

    def problem(self, note):
        self.problems += 1
        if len(self.notes) < MAX_NOTES:
            self.notes.append(note)


def count_lines(data):
    """The number of lines in ``data``, bytes; lines end in LF, CR or CRLF."""
    ends = data.count(b"\n") + data.count(b"\r") - data.count(b"\r\n")
    is_open = bool(data) and not data.endswith((b"\n", b"\r"))
    return ends + is_open


def check(kind, lines, every):
    """Check a file of this kind; yields the one growing report, and at the end once more.

    :param kind: ``csv`` or ``text``, str.
    :param lines: lines with their ends; undecodable bytes as lone surrogates, iterable of str.
    :param every: lines between two reports, int.
    """
    return CHECKS[kind](iter(lines), every)


def _check_text(lines, every):
    report = Report()
    for number, line in enumerate(lines, 1):
        report.done = report.rows = number
        _check_line(report, number, line.rstrip("\r\n"))
        if number % every == 0:
            yield report
    yield report


def _check_line(report, number, line):
    if not _is_decoded(line):
        report.problem(f"line {number}: not UTF-8")
    elif len(line) > MAX_LINE:
        report.problem(f"line {number}: {len(line)} characters, more than {MAX_LINE}")


def _check_csv(lines, every):
    report = Report()
    reader = _open_csv(lines)
    columns = len(next(_records(reader), []))
    for record in _records(reader):
        report.rows += 1
        if len(record) != columns:
            report.problem(f"line {reader.line_num}: {_columns(len(record))}, the header has {columns}")
        if reader.line_num >= report.done + every:
            report.done = reader.line_num
            yield report
    report.done = reader.line_num
    yield report


def _open_csv(lines):
    """A reader that splits at whichever delimiter the first line has most of."""
    first = next(lines, "")
    delimiter = max(DELIMITERS, key=first.count)
    return csv.reader(itertools.chain([first], lines), delimiter=delimiter)


def _records(reader):
    """The reader's records without empty lines."""
    try:
        for record in reader:
            if record:
                yield record
    except csv.Error as error:
        raise Unreadable(f"line {reader.line_num}: {error} (is a quote left open?)") from error


def _columns(count):
    return f"{count} column" if count == 1 else f"{count} columns"


def _is_decoded(line):
    """Whether no byte of the line had to be kept as a lone surrogate."""
    try:
        line.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


CHECKS = {"csv": _check_csv, "text": _check_text}
