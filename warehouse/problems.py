"""The one way in which this package says that PostgreSQL cannot be used as asked."""

from __future__ import annotations


class WarehouseProblem(Exception):
    """The warehouse cannot be started, reached or prepared.

    `sentence` says what happened in plain words, `advice` what to do next. Neither ever holds a password.
    """

    def __init__(self, sentence: str, advice: str) -> None:
        super().__init__(f"{sentence} {advice}")
        self.sentence = sentence
        self.advice = advice
