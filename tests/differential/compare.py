"""Weir's reactions held against those of others, and both against the table."""

import asyncio
import contextlib
import csv
import tempfile
from pathlib import Path

import features
import inputs
import reactions
import servers

HERE = Path(__file__).resolve().parent
OTHERS = ["nginx", "haproxy", "envoy", "go", "h11"]
PATIENT = 2.0  # seconds without a byte, where the short wait gave something unexplained


def table():
    lines = (HERE / "disagreements.tsv").read_text().splitlines()
    rows = list(csv.DictReader((l for l in lines if not l.startswith("#")), delimiter="\t"))
    for row in rows:
        assert row["feature"] in features.NAMES, f"no such feature: {row['feature']}"
        assert row["right"] in ("Weir", "both", "others") and row["section"] and row["why"], row
        assert set(row["servers"].split()) <= set(OTHERS), row
    return rows


def explain(rows, data, server, ours, theirs):
    """The rows that explain the difference, as (number, server); None if there is one that
    nothing explains."""
    difference = reactions.difference(ours, theirs)
    if not difference:
        return set()
    has = features.features(data)
    found = {
        (i, server)
        for i, row in enumerate(rows)
        if row["feature"] in has
        and server in row["servers"].split()
        and (row["weir"], row["others"]) == difference
    }
    return found or None


@contextlib.contextmanager
def servers_running(others):
    """Weir's echo and the others; gives their ports, and finds those that ended by themselves."""
    with tempfile.TemporaryDirectory() as folder:
        running = servers.Servers(["weir", *others], Path(folder))
        try:
            yield running.ports
            assert not running.dead(), f"ended by itself: {running.dead()}"
        finally:
            running.close()


def compare(others, with_corpus=True):
    """Gives what no row explains, as (input, server, Weir's reaction, theirs); the rows that
    explain nothing, as (row, server); and how many pairs were compared."""
    rows, sent = table(), inputs.all_inputs(with_corpus)
    with servers_running(others) as ports:
        unexplained, used = held_against(ports, sent, others, rows)
    wanted = {(i, s) for i, row in enumerate(rows) for s in row["servers"].split() if s in others}
    return unexplained, [(rows[i], s) for i, s in sorted(wanted - used)], len(sent) * len(others)


def held_against(ports, sent, others, rows):
    seen = {}
    for name in ["weir", *others]:
        seen[name] = asyncio.run(reactions.react_all(ports[name], sent))
    open_questions, used = [], set()
    for server in others:
        for name, data in sent.items():
            why = explain(rows, data, server, seen["weir"][name], seen[server][name])
            if why is None:  # a machine under load may have been slow
                for slow in ("weir", server):
                    seen[slow][name] = asyncio.run(reactions.react(ports[slow], data, PATIENT))
                why = explain(rows, data, server, seen["weir"][name], seen[server][name])
            used |= why or set()
            if why is None:
                open_questions.append((name, server, seen["weir"][name], seen[server][name]))
    return open_questions, used
