"""Checks the contents of a file. These are pure functions that take lines and yield reports.

They use no files, no clock, no database and no Flask. A check is a generator that yields its report after every so many
lines, so that its caller decides how fast it proceeds.
"""

from __future__ import annotations

import csv
import itertools

MAX_LINE = 10000  # characters; longer lines are reported in text files
MAX_NOTES = 5  # problems that are described; the others are only counted
DELIMITERS = ",;\t|"


class Unreadable(Exception):
    """The file violates its format so badly that no further row can be recognised."""


class Report:
    """How far a check has come, and what it has found.

    :ivar done: the number of lines that were read.
    :ivar rows: for CSV the number of records below the header, for text the number of lines.
    :ivar problems: the number of problems.
    :ivar notes: descriptions of the first problems, a list of strings.
    """

    def __init__(self):
        self.done = 0
        self.rows = 0
        self.problems = 0
        self.notes = []

    def add_problem(self, note):
        self.problems += 1
        if len(self.notes) < MAX_NOTES:
            self.notes.append(note)


def count_lines(data):
    """Return the number of lines in ``data`` (bytes). Lines end in LF, CR or CRLF."""
    ends = data.count(b"\n") + data.count(b"\r") - data.count(b"\r\n")
    is_open = bool(data) and not data.endswith((b"\n", b"\r"))
    return ends + is_open


def check_file(kind, lines, every):
    """Check a file of this kind. Yield the same growing report again and again, and once more at the end.

    :param kind: ``csv`` or ``text``.
    :param lines: an iterable of strings: lines with their ends. Undecodable bytes are lone surrogates.
    :param every: the number of lines between two reports.
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
        report.add_problem(f"line {number}: not UTF-8")
    elif len(line) > MAX_LINE:
        report.add_problem(f"line {number}: {len(line)} characters, more than {MAX_LINE}")


def _check_csv(lines, every):
    report = Report()
    reader = _open_csv(lines)
    columns = len(next(_read_records(reader), []))
    for record in _read_records(reader):
        report.rows += 1
        if len(record) != columns:
            report.add_problem(f"line {reader.line_num}: {_count_columns(len(record))}, the header has {columns}")
        if reader.line_num >= report.done + every:
            report.done = reader.line_num
            yield report
    report.done = reader.line_num
    yield report


def _open_csv(lines):
    """Return a reader for the delimiter that is most frequent in the first line."""
    first = next(lines, "")
    delimiter = max(DELIMITERS, key=first.count)
    return csv.reader(itertools.chain([first], lines), delimiter=delimiter)


def _read_records(reader):
    """Yield the reader's records without empty lines."""
    try:
        for record in reader:
            if record:
                yield record
    except csv.Error as error:
        raise Unreadable(f"line {reader.line_num}: {error} (is a quote left open?)") from error


def _count_columns(count):
    return f"{count} column" if count == 1 else f"{count} columns"


def _is_decoded(line):
    """Tell whether all bytes of the line could be decoded, so that it has no lone surrogates."""
    try:
        line.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


CHECKS = {"csv": _check_csv, "text": _check_text}
