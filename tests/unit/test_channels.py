"""Webhook and mail, against real servers on this machine: what arrives, what is refused, and what errors give away."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from orchestration import channels as ours
from orchestration.channels import NotSent, channels
from orchestration.messages import Message, inert, message
from orchestration.settings import Settings
from tests.receiving import Hook, Mailbox, mail_server, make_certificate, web_server
from validation.alerts import Alert

HOSTILE = "a <!channel> @all [x](http://evil.example) &amp; www.evil.example `b`.csv"
OPENED = datetime(2024, 6, 1, 12, tzinfo=UTC)


def alert(number: int = 1, sentence: str = "The file a.csv is quarantined.", **other: Any) -> Alert:
    values: dict[str, Any] = {
        "alert_id": number, "condition": f"quarantined_file:{number}", "kind": "quarantined_file", "sentence": sentence,
        "link": f"http://127.0.0.1:8000/reports/files/{number}/", "opened_at": OPENED, "cleared_at": None, **other,
    }  # fmt: skip
    return Alert(**values)


def one(sentence: str = "The file a.csv is quarantined.") -> Message:
    return message([alert(sentence=sentence)], "open", "http://127.0.0.1:3000")


@pytest.fixture
def hook() -> Iterator[Hook]:
    with web_server() as hook:
        yield hook


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with mail_server() as mailbox:
        yield mailbox


def webhook(url: str) -> ours.Channel:
    (channel,) = channels(Settings(alert_webhook=SecretStr(url)))
    return channel


def mail(url: str, *to: str) -> ours.Channel:
    (channel,) = channels(Settings(alert_smtp=SecretStr(url), alert_email_to=to or ("ops@example.com",)))
    return channel


def test_a_webhook_gets_json_that_says_which_alert_and_what(hook: Hook) -> None:
    webhook(hook.url).send(one())
    assert hook.posted == [
        {
            "id": f"1-{int(OPENED.timestamp())}-open",
            "condition": "quarantined_file:1",
            "kind": "quarantined_file",
            "status": "open",
            "sentence": "The file a.csv is quarantined.",
            "link": "http://127.0.0.1:8000/reports/files/1/",
            "opened_at": "2024-06-01T12:00:00+00:00",
            "text": "Alert: The file a.csv is quarantined.\nhttp://127.0.0.1:8000/reports/files/1/",
        }
    ]
    assert hook.headers[0]["Idempotency-Key"] == hook.posted[0]["id"]


@pytest.mark.parametrize(
    ("status", "refused", "sentence"),
    [
        (500, False, "The webhook answered 500 (Internal Server Error)."),
        (429, False, "The webhook answered 429 (Too Many Requests)."),
        (400, True, "The webhook answered 400 (Bad Request)."),
        (799, False, "The webhook answered 799 (unknown)."),
        (0, False, "The server ended the connection."),
    ],
)
def test_whatever_else_a_webhook_answers_is_a_sentence(hook: Hook, status: int, refused: bool, sentence: str) -> None:
    hook.status = status
    with pytest.raises(NotSent) as problem:
        webhook(hook.url).send(one())
    assert (str(problem.value), problem.value.refused) == (sentence, refused)


@pytest.mark.parametrize("scheme", ["http", "file", "ftp"])
def test_a_webhook_follows_no_redirect(hook: Hook, scheme: str) -> None:
    with web_server() as other:
        hook.status, hook.redirect = 307, other.url if scheme == "http" else f"{scheme}:///etc/passwd"
        with pytest.raises(NotSent, match=r"answered 307 .*; give the address that it leads to\."):
            webhook(hook.url).send(one())
        assert other.posted == []


def test_nobody_there_and_a_server_that_never_ends_are_sentences(hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotSent, match=r"The server cannot be reached: Connection refused\."):
        webhook("http://127.0.0.1:9/hook").send(one())
    hook.status = -1
    monkeypatch.setattr(ours, "WHOLE_SECONDS", 0.3)
    began = time.monotonic()
    with pytest.raises(NotSent, match=r"There was no answer within 0\.3 seconds\."):
        webhook(hook.url).send(one())
    assert time.monotonic() - began < 3


def test_a_letter_says_the_same_to_all(mailbox: Mailbox) -> None:
    mail(mailbox.url, "a@example.com", "b@example.com").send(one())
    (letter,) = mailbox.letters
    assert letter["To"] == "a@example.com, b@example.com"
    assert len(mailbox.recipients[0]) == 2
    assert letter["Subject"] == "Footfall: Alert: The file a.csv is quarantined."
    assert letter["Auto-Submitted"] == "auto-generated"
    assert letter.get_content().splitlines() == [
        "Alert: The file a.csv is quarantined.",
        "",
        "Since 2024-06-01T12:00:00+00:00.",
        "http://127.0.0.1:8000/reports/files/1/",
    ]
    over = alert(cleared_at=OPENED.replace(hour=13))
    mail(mailbox.url).send(message([over], "cleared", ""))
    answer = mailbox.letters[1]
    assert answer["Subject"] == "Footfall: Over: The file a.csv is quarantined."
    assert answer["In-Reply-To"] == letter["Message-ID"]
    assert answer["Message-ID"] != letter["Message-ID"]


def test_a_hostile_name_adds_no_header_and_ends_no_letter(mailbox: Mailbox) -> None:
    mail(mailbox.url).send(one("The file ü\\r\\nBcc: x@evil.example\u2028 ; <b>.csv is quarantined."))
    mail(mailbox.url).send(one(".\\n. is quarantined." + "long " * 100))
    assert [letter["Bcc"] for letter in mailbox.letters] == [None, None]
    assert all(letter.get_content_type() == "text/plain" for letter in mailbox.letters)
    assert "Bcc: x@evil.example" in mailbox.letters[0].get_content()
    assert len(mailbox.letters[1]["Subject"]) < 200


@pytest.mark.parametrize("break_", ["\r\n", "\n", "\r", "\0", "\u2028"])
def test_a_raw_line_break_that_came_through_all_the_same_adds_no_header(mailbox: Mailbox, break_: str) -> None:
    mail(mailbox.url).send(one(f"x{break_}Bcc: y@evil.example"))
    (letter,) = mailbox.letters
    assert letter["Bcc"] is None
    assert "Bcc: y@evil.example" in letter["Subject"]


def test_what_chat_programs_act_on_is_taken_from_a_text() -> None:
    (text,) = [one(HOSTILE).body["text"].splitlines()[0]]
    assert "<" not in text
    for acted_on in ("@all", "](", "http://", "www.evil", "<!"):
        assert acted_on not in text
    assert text.replace("\u200b", "") == (
        "Alert: a &lt;!channel&gt; @all [x](http://evil.example) &amp;amp; www.evil.example `b`.csv"
    )
    assert one(HOSTILE).body["sentence"] == HOSTILE, "programs get what stands in the ledger"
    assert inert("one ` alone") == "one ' alone"


def test_many_alerts_are_one_message_that_does_not_grow_without_end() -> None:
    several = [alert(number, f"The file {number}.csv is quarantined.") for number in range(1, 1001)]
    several.append(alert(1001, "The last run failed.", kind="failed_run"))
    found = message(several, "open", "http://127.0.0.1:3000")
    assert found.headline == "Alert: 1,001 new alerts: 1,000 quarantined files, 1 failed job."
    assert "- … and 991 more; `footfall status` lists what is wrong." in found.text
    assert (len(found.body["alerts"]), found.body["alerts_told"], found.body["alerts_in_all"]) == (100, 100, 1001)
    assert found.key == message(several, "open", "http://127.0.0.1:3000").key
    assert found.key != message(several[1:], "open", "http://127.0.0.1:3000").key
    assert "2 alerts are over: 2 quarantined files." in message(several[:2], "cleared", "").text


def test_a_password_is_not_sent_unencrypted(mailbox: Mailbox) -> None:
    with pytest.raises(NotSent, match="offers no encryption, and a password is not sent without"):
        mail(f"smtp://me:right@127.0.0.1:{mailbox.port}").send(one())
    assert mailbox.logins == []
    assert not any(b"AUTH" in line for line in mailbox.said)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_encryption_and_whom_to_trust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = make_certificate(tmp_path)
    with mail_server(certificate) as mailbox:
        url = f"smtp://m%40e:right@127.0.0.1:{mailbox.port}"
        with pytest.raises(NotSent, match=r"certificate of the server is not to be trusted: self.signed certificate"):
            mail(url).send(one())
        assert mailbox.logins == []
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        mail(url).send(one())
        assert mailbox.logins == [(True, "m@e:right")]
        assert len(mailbox.letters) == 1
        with pytest.raises(NotSent) as problem:
            mail(url.replace("right", "hidden")).send(one())
        assert str(problem.value) == "The mail server does not take the user and password."
        with pytest.raises(NotSent, match="offers no encryption"):
            mail(url + "?starttls=never").send(one())


def test_a_letter_that_a_server_refuses_holds_no_other_back(mailbox: Mailbox) -> None:
    mailbox.refuses = b"554 spam"
    with pytest.raises(NotSent) as problem:
        mail(mailbox.url).send(one())
    assert (str(problem.value), problem.value.refused) == ("The mail server answered with code 554.", True)
    mailbox.refuses = b"451 later"
    with pytest.raises(NotSent) as problem:
        mail(mailbox.url).send(one())
    assert not problem.value.refused


def test_secrets_show_in_no_print() -> None:
    settings = Settings(
        alert_webhook=SecretStr("https://example.com/hidden"),
        alert_smtp=SecretStr("smtps://me:hidden@example.com"),
        alert_email_to=("a@example.com",),
    )
    assert "hidden" not in repr(settings)
    assert "hidden" not in repr(channels(settings))
    assert channels(Settings()) == []
