"""Writing small files so that a crash leaves the old one or the new one, never half of one."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def replace_file(path: Path, text: str, *, uid: int | None = None, gid: int | None = None) -> None:
    """Put `text` in the place of a file, readable by its owner alone (mode 0600), following no link that lies there.

    Run by root, the file belongs to `uid` and `gid`, by default to those of its folder.
    """
    temporary = path.with_name(f"{path.name}.new")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    if os.geteuid() == 0:
        folder = path.parent.stat()
        os.chown(temporary, folder.st_uid if uid is None else uid, folder.st_gid if gid is None else gid)
    temporary.replace(path)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file, so that one process at a time does what is inside. Its being there means nothing."""
    with path.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
