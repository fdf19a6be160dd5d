"""What people are told of alerts, in words: a headline, a text, and the body that a webhook gets. Pure.

One message tells of one alert or of many. Names of files are hostile: a headline is one line, and in the text that chat
programs show nothing is a mention, a link or a tag but the link that is ours.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from validation.alerts import Alert, Tells

_KINDS: Final = {
    "failed_run": ("failed job", "failed jobs"),
    "quarantined_file": ("quarantined file", "quarantined files"),
    "failed_check": ("failed check", "failed checks"),
    "silent_landing": ("silent landing folder", "silent landing folders"),
    "disk_full": ("full disk", "full disks"),
}
_HEADLINES: Final = {"open": "Alert", "cleared": "Over"}
# Of so many alerts a message tells one by one; of so many a webhook gets the particulars.
_LINES: Final = 10
_PARTICULARS: Final = 100
_HEADLINE: Final = 150
# Breaks a mention or an address that a chat program would act on, and cannot be seen.
_BREAK: Final = "\N{ZERO WIDTH SPACE}"


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent. `key` is the same whenever the same is sent again; `answers` is that of the message before."""

    key: str
    headline: str
    text: str
    body: dict[str, Any]
    answers: str | None = None


def message(alerts: Sequence[Alert], tells: Tells, everything: str) -> Message:
    """Put alerts into words, one or many; `everything` is the address of the page that shows what else there is."""
    if len(alerts) == 1:
        return _of_one(alerts[0], tells)
    sentence = _how_many(alerts, tells)
    lines = [f"- {alert.sentence}" for alert in alerts[:_LINES]]
    if len(alerts) > _LINES:
        rest = f"- … and {len(alerts) - _LINES:,} more"
        lines.append(f"{rest}; `footfall status` lists what is wrong." if tells == "open" else f"{rest}.")
    key = "several-" + hashlib.sha256(" ".join(_key(alert, tells) for alert in alerts).encode()).hexdigest()[:32]
    body = {
        "id": key,
        "condition": "several",
        "kind": "several",
        "status": tells,
        "sentence": sentence,
        "link": everything,
        "opened_at": _instant(min(alert.opened_at for alert in alerts)),
        "text": "\n".join([f"{_HEADLINES[tells]}: {sentence}", *map(inert, lines), everything]),
        "alerts": [_particulars(alert, tells) for alert in alerts[:_PARTICULARS]],
        "alerts_told": min(len(alerts), _PARTICULARS),
        "alerts_in_all": len(alerts),
    }
    return Message(key, f"{_HEADLINES[tells]}: {sentence}", "\n".join([sentence, "", *lines, "", everything]), body)


def _of_one(alert: Alert, tells: Tells) -> Message:
    headline = f"{_HEADLINES[tells]}: {alert.sentence}"
    link = [alert.link] if alert.link else []
    when = f"Since {_instant(alert.opened_at)}."
    if alert.cleared_at is not None and tells == "cleared":
        when = f"From {_instant(alert.opened_at)} to {_instant(alert.cleared_at)}."
    return Message(
        _key(alert, tells),
        headline if len(headline) <= _HEADLINE else headline[: _HEADLINE - 1] + "…",
        "\n".join([headline, "", when, *link]),
        {**_particulars(alert, tells), "text": "\n".join([inert(headline), *link])},
        _key(alert, "open") if tells == "cleared" else None,
    )


def _particulars(alert: Alert, tells: Tells) -> dict[str, Any]:
    particulars = {
        "id": _key(alert, tells),
        "condition": alert.condition,
        "kind": alert.kind,
        "status": tells,
        "sentence": alert.sentence,
        "link": alert.link,
        "opened_at": _instant(alert.opened_at),
    }
    if tells == "cleared" and alert.cleared_at is not None:
        particulars["cleared_at"] = _instant(alert.cleared_at)
    return particulars


def _how_many(alerts: Sequence[Alert], tells: Tells) -> str:
    """Say how many there are of each kind, the most first."""
    kinds = Counter(alert.kind for alert in alerts).most_common()
    plain = {kind: kind.replace("_", " ") for kind, _ in kinds}
    told = [f"{count:,} {_KINDS.get(kind, (plain[kind],) * 2)[count > 1]}" for kind, count in kinds]
    what = "new alerts" if tells == "open" else "alerts are over"
    return f"{len(alerts):,} {what}: {', '.join(told)}."


def _key(alert: Alert, tells: Tells) -> str:
    """Name what is told. The time tells a database that was made anew, and counts from 1 again, from the one before."""
    return f"{alert.alert_id}-{int(alert.opened_at.timestamp())}-{tells}"


def _instant(at: datetime) -> str:
    return at.isoformat(timespec="seconds")


def inert(line: str) -> str:
    """Take from a line of hostile text what Slack, Mattermost and their like would act on: tags, mentions, links."""
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    line = re.sub(r"(@|:(?=//)|\](?=[(\[])|!(?=\[)|www(?=\.)|mailto(?=:))", rf"\1{_BREAK}", line, flags=re.IGNORECASE)
    return line.replace("`", "'") if line.count("`") % 2 else line
