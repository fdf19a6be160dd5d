"""What an upload of 2 GiB takes: seconds, and the memory of the server's process while it goes on.

    python -m tests.benchmarks.upload [--gib 2] [--folder DIR]

The folder's disk needs room for one such file.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from tests.integration.uploading import server_process, upload

MEBIBYTE = 2**20


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--gib", type=float, default=2.0)
    options.add_argument("--folder", type=Path, default=None)
    chosen = options.parse_args()
    pieces = round(chosen.gib * 1024)
    piece = os.urandom(MEBIBYTE)
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder, server_process(Path(folder)) as (port, process):
        upload(port, b"x", "first.csv")
        before = process.memory_info().rss
        seen = [before]
        is_over = threading.Event()

        def look() -> None:
            while not is_over.wait(0.05):
                seen.append(process.memory_info().rss)

        def body() -> Iterator[bytes]:
            for _ in range(pieces):
                yield piece

        looker = threading.Thread(target=look)
        looker.start()
        began = time.monotonic()
        told = upload(port, body(), "large.csv", length=pieces * MEBIBYTE)
        seconds = time.monotonic() - began
        is_over.set()
        looker.join()
        size = (Path(folder) / "large.csv").stat().st_size
        used = process.cpu_times()
    assert (told.status, size) == (202, pieces * MEBIBYTE), told
    print(f"{size / 2**30:.2f} GiB in {seconds:.1f} s: {size / seconds / MEBIBYTE:,.0f} MiB/s, to the disk and hashed")
    print(f"server's CPU: {used.user + used.system:.1f} s")
    print(
        f"server's RSS: {before / MEBIBYTE:.1f} MiB before, {max(seen) / MEBIBYTE:.1f} MiB at most ({len(seen)} looks)"
    )


if __name__ == "__main__":
    main()
