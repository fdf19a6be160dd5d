"""How long a large file takes from the landing folder to the marts, and how much memory.

Not a test: it prints figures. The file is a sample with every kind of flaw; the load is `footfall ingest` on a new,
embedded warehouse. Its seconds are set beside those of a bare COPY of the same file's lines into a table without
index, on the same server in the same run, because seconds alone say more about the machine.

    .venv/bin/python -m tests.benchmarks.bulk_load [ROWS]
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

from validation.sample import write_sample
from warehouse.embedded import EmbeddedPostgres

FOOTFALL = [sys.executable, "-m", "orchestration.cli"]


def run(command: list[str], environment: dict[str, str]) -> tuple[float, int]:
    """Seconds and peak resident bytes of one command (its children, PostgreSQL among them, not counted)."""
    start = time.monotonic()
    process = subprocess.Popen(command, env=environment)
    peak = 0

    def watch() -> None:
        nonlocal peak
        while process.poll() is None:
            try:
                peak = max(peak, psutil.Process(process.pid).memory_info().rss)
            except psutil.NoSuchProcess:
                return
            time.sleep(0.1)

    watcher = threading.Thread(target=watch)
    watcher.start()
    process.wait()
    watcher.join()
    if process.returncode:
        raise SystemExit(f"{command} ended with {process.returncode}")
    return time.monotonic() - start, peak


def main(rows: int) -> None:
    """Make the file, load it, and print the figures."""
    with tempfile.TemporaryDirectory(prefix="footfall-bench-") as folder:
        home = Path(folder) / "home"
        Path(folder).chmod(0o755)
        file = Path(folder) / "sample.csv"
        write_sample(file, rows, 30, 1)
        environment = os.environ | {"FOOTFALL_HOME": str(home), "FOOTFALL_LANDING": str(Path(folder) / "landing")}
        server = EmbeddedPostgres(home, port=0)
        try:
            seconds, peak = run([*FOOTFALL, "ingest", str(file)], environment)
            server.start()
            with server.warehouse().connect("owner", autocommit=True) as owner:
                (loading,) = owner.execute("select seconds from raw.files").fetchone() or (0.0,)
                (events,) = owner.execute("select count(*) from raw.events").fetchone() or (0,)
                owner.execute("create schema bench; create table bench.lines (line text)")
                start = time.monotonic()
                # Neither sign occurs in the file, so each of its lines is one value.
                statement = "copy bench.lines from stdin (format csv, delimiter e'\\x01', quote e'\\x02')"
                with file.open("rb") as source, owner.cursor() as cursor, cursor.copy(statement) as copy:
                    while block := source.read(1 << 20):
                        copy.write(block)
                copying = time.monotonic() - start
        finally:
            server.remove()
        times = loading / copying
        print(f"{rows:,} rows, {file.stat().st_size / 1e6:,.0f} MB, {events:,} events")
        print(f"read, validate, load: {loading:.1f} s, {rows / loading:,.0f} rows/s, {times:.1f} x a bare COPY")
        print(f"drop to marts, starts and stops included: {seconds:.1f} s; the process's peak: {peak / 1e6:,.0f} MB")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_600_000)
