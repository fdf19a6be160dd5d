"""What clears away when `footfall up` is killed: stops its parts, and PostgreSQL.

It waits for the end of its standard input, a pipe whose other end only its parent holds: however the parent ends, the
pipe ends with it. Until then it has loaded next to nothing.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Wait for the parent's end, then do what it could not do any more."""
    sys.stdin.buffer.read()
    from orchestration.server import Server
    from orchestration.settings import load_settings
    from orchestration.stack import read_record
    from orchestration.supervisor import stop_group

    settings = load_settings()
    record = read_record(settings)
    if record is not None:
        for child in reversed(list(record.children.values())):
            stop_group(child)
    with (settings.run_folder / "postgres.users").open("a") as users:
        Server(settings).stop_unless_used(users.fileno())
    (settings.run_folder / "stack.json").unlink(missing_ok=True)


if __name__ == "__main__":
    main()
