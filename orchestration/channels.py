"""The ways by which people are told of alerts: a webhook and mail. One message at a time, within a bounded time.

What a message says is worded in `messages`; when it is sent again, `alerting` decides. A channel raises `NotSent` and
nothing else, whose sentence repeats neither an address nor a password nor what the other side said.
"""

from __future__ import annotations

import smtplib
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from http.client import responses
from json import dumps
from threading import Thread
from typing import Final, Protocol
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from orchestration.messages import Message
from orchestration.settings import Settings
from validation.outcomes import on_one_line

# How long one answer of the other side may take, and how long the whole of it.
ANSWER_SECONDS: Final = 5.0
WHOLE_SECONDS: Final = 10.0
_PORTS: Final = {"smtp": 587, "smtps": 465}


class NotSent(Exception):
    """A message could not be sent; the text says why. `refused` where another message may go through all the same."""

    def __init__(self, why: str, *, refused: bool = False) -> None:
        super().__init__(why)
        self.refused = refused


class Channel(Protocol):
    """A way to tell people."""

    @property
    def name(self) -> str:
        """What it is called in the record of what was told."""

    def send(self, message: Message) -> None:
        """Send it. Raises `NotSent`."""


def channels(settings: Settings) -> list[Channel]:
    """Return the ways that are set up."""
    found: list[Channel] = []
    if settings.alert_webhook is not None:
        found.append(Webhook(settings.alert_webhook.get_secret_value()))
    if settings.alert_smtp is not None:
        url = urlsplit(settings.alert_smtp.get_secret_value())
        found.append(Mail(url, settings.alert_email_from, settings.alert_email_to))
    return found


@dataclass(frozen=True)
class Webhook:
    """An address that messages are posted to, as JSON."""

    url: str
    name: str = "webhook"

    def __repr__(self) -> str:
        return "Webhook()"

    def send(self, message: Message) -> None:
        """Post it. No redirect is followed: a message would go to somebody else than was set up."""
        _within(WHOLE_SECONDS, lambda: self._post(message))

    def _post(self, message: Message) -> None:
        request = urllib.request.Request(  # noqa: S310 - the setting is http or https
            self.url,
            data=dumps(message.body).encode(),
            headers={
                "Content-Type": "application/json",
                "User-Agent": "Footfall",
                "Idempotency-Key": message.key,
            },
        )
        # No handler for redirects, and none for other schemes.
        opener = urllib.request.OpenerDirector()
        for handler in (urllib.request.ProxyHandler(), urllib.request.HTTPHandler(), urllib.request.HTTPSHandler()):
            opener.add_handler(handler)
        with opener.open(request, timeout=ANSWER_SECONDS) as answer:
            status = int(answer.status)
        if not 200 <= status < 300:
            where = "; give the address that it leads to" if 300 <= status < 400 else ""
            raise NotSent(
                f"The webhook answered {status} ({responses.get(status, 'unknown')}){where}.",
                refused=status < 500 and status != 429,
            )


@dataclass(frozen=True)
class Mail:
    """A mail server, `smtp` (encrypted by STARTTLS) or `smtps`, and who writes to whom.

    A certificate must be that of the host. Without a password a server that offers no encryption will do; with
    `?starttls=never` one that offers it is not asked for it.
    """

    url: SplitResult
    sender: str
    recipients: Sequence[str]
    name: str = "mail"

    def __repr__(self) -> str:
        return "Mail()"

    def send(self, message: Message) -> None:
        """Mail it to all of them at once."""
        _within(WHOLE_SECONDS, lambda: self._mail(message))

    def _mail(self, message: Message) -> None:
        host, port = self.url.hostname or "", self.url.port or _PORTS[self.url.scheme]
        context = ssl.create_default_context()
        never = parse_qs(self.url.query).get("starttls") == ["never"]
        if self.url.scheme == "smtps":
            server: smtplib.SMTP = smtplib.SMTP_SSL(host, port, timeout=ANSWER_SECONDS, context=context)
        else:
            server = smtplib.SMTP(host, port, timeout=ANSWER_SECONDS)
        with server:
            server.ehlo()
            encrypted = self.url.scheme == "smtps"
            if not encrypted and not never and server.has_extn("starttls"):
                server.starttls(context=context)
                server.ehlo()
                encrypted = True
            if self.url.username and self.url.password:
                if not encrypted:
                    raise NotSent("The mail server offers no encryption, and a password is not sent without.")
                server.login(unquote(self.url.username), unquote(self.url.password))
            server.send_message(self._letter(message), self.sender, list(self.recipients))

    def _letter(self, message: Message) -> EmailMessage:
        letter = EmailMessage(policy=SMTP)
        letter["From"] = f"Footfall <{self.sender}>"
        letter["To"] = ", ".join(self.recipients)
        letter["Subject"] = on_one_line(f"Footfall: {message.headline}")
        letter["Date"] = format_datetime(datetime.now(UTC))
        letter["Message-ID"] = _message_id(message.key)
        letter["Auto-Submitted"] = "auto-generated"
        letter["Idempotency-Key"] = message.key
        if message.answers is not None:
            letter["In-Reply-To"] = letter["References"] = _message_id(message.answers)
        letter.set_content(message.text)
        return letter


def _message_id(key: str) -> str:
    return f"<{key}@footfall.invalid>"


def _within(seconds: float, send: Callable[[], None]) -> None:
    """Send, in a thread: a name server, or a server that answers a byte at a time, heeds no time limit of a socket."""
    ended: list[Exception | None] = []

    def attempt() -> None:
        try:
            send()
        except Exception as error:
            ended.append(error)
        else:
            ended.append(None)

    thread = Thread(target=attempt, name="alert", daemon=True)
    thread.start()
    thread.join(seconds)
    if not ended:
        raise NotSent(f"There was no answer within {seconds:g} seconds.")
    if ended[0] is not None:
        raise _not_sent(ended[0]) from None


def _not_sent(error: Exception) -> NotSent:
    """Say in words of ours what went wrong: the text of an error may quote an address or what a server said."""
    if isinstance(error, urllib.error.URLError) and isinstance(error.reason, Exception):
        error = error.reason
    match error:
        case NotSent():
            return error
        case smtplib.SMTPAuthenticationError():
            return NotSent("The mail server does not take the user and password.")
        case smtplib.SMTPRecipientsRefused():
            return NotSent("The mail server takes no mail to any of these addresses.")
        case smtplib.SMTPResponseException():
            refused = isinstance(error, smtplib.SMTPDataError) and error.smtp_code >= 500
            return NotSent(f"The mail server answered with code {error.smtp_code}.", refused=refused)
        case ssl.SSLCertVerificationError():
            return NotSent(f"The certificate of the server is not to be trusted: {error.verify_message}.")
        case TimeoutError():
            return NotSent(f"There was no answer within {ANSWER_SECONDS:g} seconds.")
        case smtplib.SMTPServerDisconnected() | ConnectionResetError():
            return NotSent("The server ended the connection.")
        case OSError() if error.strerror:
            return NotSent(f"The server cannot be reached: {error.strerror}.")
        case _:
            return NotSent(f"It could not be sent ({type(error).__name__}).")
