"""What goes wrong in a way that people can put right: one sentence, shown without a traceback."""

from __future__ import annotations


class Problem(Exception):
    """The message is for the person at the terminal: what happened, and what to do."""
