"""What an increment of late events costs on histories of several lengths, beside a full refresh of the same history.

Not a test: it prints figures and, if asked, draws them. Histories grow in time at a constant number of events per day,
of the same persons at the same cameras. The late events lie in a few whole weeks drawn from the history, so that
every history has as many buckets touched; they come as one batch, which the real dbt then takes in. Rows are counted
by the server's own statistics: read, by scan or by index, and written, over all stored tables.

    .venv/bin/python -m tests.benchmarks.increment_cost 1000000 10000000 [--scatter everywhere] [--picture FILE.svg]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg

from tests.integration.modelling import Models
from warehouse.connections import Warehouse
from warehouse.embedded import EmbeddedPostgres
from warehouse.preparing import prepare

PER_DAY = 10_000
LATE = 10_000
WEEKS = 8
REPEATS = 3
FIRST_DAY = "2004-01-05"  # a Monday; the longest history ends before today
PERSONS = 2_000
CAMERAS = 20
SITES = 4

# Sessions number `first` to `last` of a history, as an entry and an exit each: person, camera and second of the day by
# hash. One in twenty lacks its exit.
_INSERT = f"""
    insert into raw.events
        (event_id, person_id, camera_id, event_type, event_word, event_time, file_id, row_number, batch_id)
    select
        md5(stay.number || kind.event_type || %(salt)s)::uuid,
        'person-' || stay.person,
        'camera-' || stay.camera,
        kind.event_type,
        kind.event_type,
        stay.start + kind.is_exit * stay.dwell,
        %(file_id)s,
        2 * row_number() over (),
        %(batch_id)s
    from (
        select
            number,
            abs(hashtext(number || 'person' || %(salt)s)::bigint) %% {PERSONS} as person,
            abs(hashtext(number || 'camera' || %(salt)s)::bigint) %% {CAMERAS} as camera,
            days.day + abs(hashtext(number || 'second' || %(salt)s)::bigint) %% 57600 * interval '1 second'
            + interval '6 hours' as start,
            abs(hashtext(number || 'dwell' || %(salt)s)::bigint) %% 3600 * interval '1 second' as dwell
        from generate_series(1::bigint, %(stays)s) as numbers (number)
        cross join lateral (
            select (%(days)s::date[])[1 + number %% cardinality(%(days)s::date[])]::timestamptz as day
        ) as days
    ) as stay
    cross join (values ('entry', 0), ('exit', 1)) as kind (event_type, is_exit)
    where kind.event_type = 'entry' or stay.number %% 20 > 0
    on conflict do nothing
"""

_ROWS_READ = """
    select
        (
            select coalesce(sum(seq_tup_read), 0)::bigint
            from pg_stat_user_tables where schemaname in ('raw', 'intermediate', 'marts')
        ) + (
            select coalesce(sum(idx_tup_read), 0)::bigint
            from pg_stat_user_indexes where schemaname in ('raw', 'intermediate', 'marts')
        ),
        (
            select coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0)::bigint
            from pg_stat_user_tables where schemaname in ('intermediate', 'marts')
        )
"""


@dataclass(frozen=True)
class Cost:
    """What one history length came to; an increment's figures are medians."""

    events: int
    refresh_seconds: float
    increment_seconds: float
    idle_seconds: float
    rows_read: int
    rows_written: int


def rows_touched(owner: psycopg.Connection) -> tuple[int, int]:
    """Rows read and written since the server began, once all statistics have arrived."""
    time.sleep(1.5)
    owner.execute("select pg_stat_clear_snapshot()")
    read, written = owner.execute(_ROWS_READ).fetchone() or (0, 0)
    return int(read), int(written)


def bring(owner: psycopg.Connection, salt: str, stays: int, days: Sequence[str]) -> None:
    """Commit one batch of stays on the given days (cyclically)."""
    with owner.transaction():
        (file_id,) = owner.execute(
            "insert into raw.files (sha256, file_name, size_bytes, state, arrived_at, rows_read, rows_loaded,"
            " rows_rejected, rows_duplicate) values (%s, 'x.csv', 1, 'loaded', now(), 1, 1, 0, 0) returning file_id",
            [salt],
        ).fetchone() or (0,)
        (batch_id,) = owner.execute(
            "insert into raw.batches (kind, file_id) values ('load', %s) returning batch_id", [file_id]
        ).fetchone() or (0,)
        owner.execute(
            _INSERT, {"salt": salt, "stays": stays, "days": list(days), "file_id": file_id, "batch_id": batch_id}
        )


def measure(warehouse: Warehouse, events: int, scatter: str) -> Cost:
    """Fill a warehouse with a history, refresh it fully, then take in late events several times."""
    models = Models(warehouse)
    owner = models.owner
    models.set_cameras(
        *(
            {
                "camera_id": f"camera-{number}",
                "site_id": f"site-{number % SITES}",
                "timezone": ("Europe/Berlin", "America/New_York", "UTC", "Asia/Kolkata")[number % SITES],
            }
            for number in range(CAMERAS)
        )
    )
    length = events // PER_DAY
    all_days = [
        str(day)
        for (day,) in owner.execute(
            "select (%s::date + n)::date from generate_series(0, %s - 1) as s (n)", [FIRST_DAY, length]
        ).fetchall()
    ]
    bring(owner, "history", events // 2, all_days)
    owner.execute("vacuum analyze raw.events")
    began = time.monotonic()
    models.run()
    refresh = time.monotonic() - began
    owner.execute("vacuum analyze")
    seconds, read, written, idle = [], [], [], []
    for number in range(REPEATS):
        # Weeks far apart, others each time; all of them anew for each history.
        weeks = [
            (7 * ((week * (length // 7)) // WEEKS)) + 7 * (number * (length // 7 // WEEKS) // REPEATS)
            for week in range(WEEKS)
        ]
        days = all_days if scatter == "everywhere" else [all_days[start + day] for start in weeks for day in range(7)]
        began = time.monotonic()
        models.run()
        idle.append(time.monotonic() - began)
        bring(owner, f"late {number}", LATE // 2, days)
        before = rows_touched(owner)
        began = time.monotonic()
        models.run()
        seconds.append(time.monotonic() - began)
        after = rows_touched(owner)
        read.append(after[0] - before[0])
        written.append(after[1] - before[1])
    models.close()
    return Cost(
        events,
        refresh,
        statistics.median(seconds),
        statistics.median(idle),
        round(statistics.median(read)),
        round(statistics.median(written)),
    )


def draw(costs: Sequence[Cost], path: Path) -> None:
    """Draw what an increment costs over the length of the history, relative to the shortest."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot

    mpl.rcParams["svg.hashsalt"] = "footfall"
    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    lengths = [cost.events / 1e6 for cost in costs]
    first = costs[0]
    for label, values, style in (
        ("full refresh, seconds", [cost.refresh_seconds / first.refresh_seconds for cost in costs], "s--"),
        ("increment, seconds", [cost.increment_seconds / first.increment_seconds for cost in costs], "o-"),
        ("increment, rows read", [cost.rows_read / first.rows_read for cost in costs], "^-"),
        ("increment, rows written", [cost.rows_written / first.rows_written for cost in costs], "v-"),
    ):
        axes.plot(lengths, values, style, label=label)
    axes.axhspan(1 / 1.5, 1.5, color="0.92", zorder=0)
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="events in the history (millions)",
        ylabel=f"cost, of {first.events / 1e6:g} million events = 1",
        title=f"{LATE:,} late events cost the same whatever the history holds",
    )
    axes.legend()
    axes.grid(visible=True, which="major", alpha=0.3)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Measure each history on a server of its own, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("events", type=int, nargs="+", help="events of each history")
    parser.add_argument("--scatter", choices=("weeks", "everywhere"), default="weeks")
    parser.add_argument("--picture", type=Path)
    arguments = parser.parse_args()
    costs = []
    for events in arguments.events:
        with tempfile.TemporaryDirectory(prefix="footfall-bench-") as folder:
            Path(folder).chmod(0o755)
            server = EmbeddedPostgres(Path(folder) / "home", port=0)
            try:
                server.start()
                prepare(server.warehouse())
                cost = measure(server.warehouse(), events, arguments.scatter)
            finally:
                server.remove()
        costs.append(cost)
        print(
            f"{cost.events:>12,} events: full refresh {cost.refresh_seconds:7.1f} s; {LATE:,} late events "
            f"{cost.increment_seconds:5.1f} s (nothing new: {cost.idle_seconds:.1f} s), {cost.rows_read:,} rows read, "
            f"{cost.rows_written:,} written",
            flush=True,
        )
    if arguments.picture:
        draw(costs, arguments.picture)


if __name__ == "__main__":
    main()
