"""Jobs by which the tests of launching look at runs from inside. Copied into the project that is launched from."""

import json
import os
import random
import ssl
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path
from typing import Any

import dagster as dg

WORDS = "the first words"


def _sockets() -> list[str]:
    links = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            links.append(str(entry.readlink()))
        except FileNotFoundError:  # the descriptor by which the folder is read
            continue
    return [link for link in links if link.startswith("socket:")]


@dg.op
def speak(context: dg.OpExecutionContext) -> None:
    import numpy as np

    print("said on stdout")
    print("said on stderr", file=sys.stderr)
    facts = {
        "words": WORDS,
        "pid": os.getpid(),
        "parent": os.getppid(),
        "threads": [thread.name for thread in threading.enumerate()],
        "sockets": _sockets(),
        "draws": [
            random.random(),
            float(np.random.rand()),
            uuid.uuid4().hex,
            ssl.RAND_bytes(8).hex(),
            next(tempfile._get_candidate_names()),  # type: ignore[attr-defined]
        ],
    }
    context.log.info(f"facts {json.dumps(facts)}")


@dg.op(config_schema={"marker": str})
def linger(context: dg.OpExecutionContext) -> None:
    Path(context.op_config["marker"]).write_text(str(os.getpid()))
    for _ in range(1200):
        time.sleep(0.1)


@dg.op
def read_settings(context: dg.OpExecutionContext, footfall: dg.ResourceParam[Any]) -> None:
    context.log.info(f"facts {json.dumps({'settle_seconds': footfall.settings.settle_seconds})}")


@dg.op
def vanish() -> None:
    os._exit(0)


@dg.job(executor_def=dg.in_process_executor)
def speaks() -> None:
    speak()


@dg.job(executor_def=dg.in_process_executor)
def lingers() -> None:
    linger()


@dg.job(executor_def=dg.in_process_executor)
def vanishes() -> None:
    vanish()


@dg.job(executor_def=dg.in_process_executor)
def reads_settings() -> None:
    read_settings()


JOBS = [speaks, lingers, vanishes, reads_settings]
