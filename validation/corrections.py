"""Corrections of what is loaded: retracting a file, releasing one from quarantine, judging one again.

Each of them is one transaction with a batch of its own in `raw.batches`, so that the models follow. Which file is
meant is found in `finding`; which files ought to be replayed is found in `outdated`.
"""

from __future__ import annotations

from validation.context import LoadContext, LoadingFailed
from validation.finding import CorrectionProblem
from validation.outcomes import Outcome

__all__ = ["CorrectionProblem", "LoadContext", "LoadingFailed", "release_file", "replay_file", "retract_file"]


def retract_file(sha256: str, context: LoadContext) -> Outcome:
    """Take a loaded file's events back, but for those that another loaded file also brought.

    The outcome's state is `retracted`; its `correction` counts the events. Dropping the content again judges it
    afresh. Raises CorrectionProblem if it is not loaded, LoadingFailed for our own or the machine's faults; everything
    then is as it was before.
    """
    raise NotImplementedError


def release_file(sha256: str, context: LoadContext) -> Outcome:
    """Load the good rows of a file that was quarantined for its share of rejected rows, whatever that share is.

    It is judged again, under the settings of today, with its recorded arrival as "now"; replays honour the release. The
    outcome is `loaded`, or `quarantined` if under those settings the file cannot be used at all. Raises
    CorrectionProblem if it is not quarantined for that reason, or its original is missing from the archive;
    LoadingFailed as `retract_file`.
    """
    raise NotImplementedError


def replay_file(sha256: str, context: LoadContext) -> Outcome:
    """Judge a file's archived original again under the settings of today, with its recorded arrival as "now".

    Rows that come out as they are stay untouched. The outcome is `loaded`, or `quarantined` if the file cannot be used
    under these settings; it then lies in the landing folder's `rejected/` with its report. A file that is quarantined
    can be replayed too. Raises CorrectionProblem if it is retracted or never was judged to the end, or if its original
    is missing from the archive; LoadingFailed as `retract_file`.
    """
    raise NotImplementedError
