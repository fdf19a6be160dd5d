"""`footfall retract`, `replay` and `release`: which files are meant, what the job did to them, and how to undo it.

How the job runs is in `running`; what a correction does is `validation.corrections`'.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console

from orchestration.problems import Problem
from orchestration.running import DONE, FAILED, NOTHING_TO_DO, Runner, started
from orchestration.settings import Settings
from validation.archive import Archive
from validation.outcomes import Outcome, on_one_line

if TYPE_CHECKING:
    from validation.finding import CorrectionKind, LedgerFile

# The state of a file to which such a correction has been made already.
_MADE_ALREADY: Final = {"retract": "retracted", "release": "loaded"}


class CorrectingProblem(Problem):
    """It is not clear which file is meant, or nothing can be corrected; the message says why."""


def correct_files(settings: Settings, kind: CorrectionKind, names: Sequence[str], out: Console) -> int:
    """Correct the files of these names or SHA-256, say what was done, and return the exit code.

    Raises `CorrectingProblem`, before anything is done, where it is not clear which file is meant.
    """
    from orchestration.jobs import correction_config

    with started(settings, out) as runner:
        todo = []
        for file in _found(runner, kind, names):
            if file.state == _MADE_ALREADY.get(kind):
                out.print(f"{on_one_line(file.name)} is {file.state} already.", markup=False)
            else:
                todo.append(file.sha256)
        if not todo:
            return NOTHING_TO_DO
        return _run(runner, kind, correction_config(kind, todo, quiet=True))


def replay_outdated(settings: Settings, out: Console, *, all_loaded: bool) -> int:
    """Replay the files that were loaded under other settings, or `all_loaded` ones too; return the exit code.

    Raises `InputProblem` where the camera list or a profile cannot be used.
    """
    from orchestration.inputs import Inputs
    from orchestration.jobs import correction_config

    with started(settings, out) as runner:
        inputs = Inputs.read(settings)
        with runner.warehouse.connect("loader", autocommit=True) as connection:
            todo = bool(inputs.outdated(connection))
            if all_loaded:
                todo |= (
                    connection.execute("select 1 from raw.files where state = 'loaded' limit 1").fetchone() is not None
                )
        if not todo:
            out.print("Nothing to replay: every loaded file was judged by the settings of today.", markup=False)
            return NOTHING_TO_DO
        return _run(runner, "replay", correction_config("replay", all_loaded=all_loaded, quiet=True))


def _found(runner: Runner, kind: CorrectionKind, names: Sequence[str]) -> list[LedgerFile]:
    from validation.finding import CorrectionProblem, find_file

    with runner.warehouse.connect("loader", autocommit=True) as connection:
        try:
            return list({(file := find_file(connection, name, kind)).sha256: file for name in names}.values())
        except CorrectionProblem as problem:
            raise CorrectingProblem(str(problem)) from None


def _run(runner: Runner, kind: CorrectionKind, config: dict[str, Any]) -> int:
    ended = runner.run(kind, config)
    for sentence in _undoing(kind, ended.outcomes, Archive(runner.settings.home / "archive")):
        runner.out.print(sentence, markup=False)
    if ended.canceled:
        return ended.exit_code
    return FAILED if ended.error is not None or ended.problems else DONE


def _undoing(kind: CorrectionKind, outcomes: Sequence[Outcome], archive: Archive) -> list[str]:
    """Say how to undo what was done."""
    if not outcomes:
        return []
    match kind:
        case "retract":
            kept = [str(archive.find(outcome.sha256 or "") or "") for outcome in outcomes]
            originals = [f"  {on_one_line(one.name)}: {path}" for one, path in zip(outcomes, kept, strict=True) if path]
            return ["To undo it, drop the file again. The archive keeps the original:", *originals]
        case "release":
            return ["To undo it, retract the file: `footfall retract FILE`."]
        case "replay":
            return ["To undo it, set back what was changed (settings, camera list, profiles) and replay again."]
