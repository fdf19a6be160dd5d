"""Who is told of alerts, in tests: a web server that keeps what is posted, and a mail server that keeps letters."""

from __future__ import annotations

import base64
import json
import socketserver
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast


@dataclass
class Hook:
    """A web server. `status` is what it answers; 0 ends the connection instead, -1 says nothing for ages."""

    url: str = ""
    status: int = 200
    redirect: str = ""
    posted: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)


@contextmanager
def web_server() -> Iterator[Hook]:
    hook = Hook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if hook.status == 0:
                self.close_connection = True
                return
            if hook.status == -1:
                # A byte now and then: no time limit on single answers notices.
                self.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
                while not hook.released.wait(0.05):
                    self.wfile.write(b"x")
                return
            if hook.status < 300:
                hook.posted.append(json.loads(body))
                hook.headers.append(dict(self.headers))
            self.send_response(hook.status)
            if hook.redirect:
                self.send_header("Location", hook.redirect)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        hook.url = f"http://127.0.0.1:{server.server_port}/hook/of/secret"
        try:
            yield hook
        finally:
            hook.released.set()
            server.shutdown()
            thread.join()


@dataclass
class Mailbox:
    """A mail server. It offers encryption where it has a `certificate`, and log-in always."""

    port: int = 0
    certificate: Path | None = None
    refuses: bytes = b""
    letters: list[EmailMessage] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)
    said: list[bytes] = field(default_factory=list)
    logins: list[tuple[bool, str]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}"


@contextmanager
def mail_server(certificate: Path | None = None) -> Iterator[Mailbox]:
    mailbox = Mailbox(certificate=certificate)

    class Handler(socketserver.StreamRequestHandler):
        def say(self, line: bytes) -> None:
            self.wfile.write(line + b"\r\n")

        def finish(self) -> None:
            super().finish()
            self.request.close()  # the server closes the socket below the encrypted one

        def handle(self) -> None:
            encrypted = False
            recipients: list[str] = []
            self.say(b"220 here")
            while line := self.rfile.readline():
                mailbox.said.append(line)
                match line.upper().split()[:1]:
                    case [b"EHLO"]:
                        self.say(b"250-here")
                        if mailbox.certificate and not encrypted:
                            self.say(b"250-STARTTLS")
                        self.say(b"250 AUTH PLAIN")
                    case [b"STARTTLS"]:
                        self.say(b"220 go on")
                        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                        context.load_cert_chain(cast("Path", mailbox.certificate))
                        try:
                            self.request = context.wrap_socket(self.request, server_side=True)
                        except OSError:
                            return
                        self.rfile, self.wfile = self.request.makefile("rb"), self.request.makefile("wb", 0)
                        encrypted = True
                    case [b"AUTH"]:
                        given = base64.b64decode(line.split()[2]).decode().strip("\0").replace("\0", ":")
                        mailbox.logins.append((encrypted, given))
                        self.say(b"235 welcome" if given.endswith(":right") else b"535 no, " + given.encode())
                    case [b"DATA"]:
                        self.say(b"354 go on")
                        text = b""
                        while (part := self.rfile.readline()) != b".\r\n":
                            text += part[1:] if part.startswith(b".") else part
                        if mailbox.refuses:
                            self.say(mailbox.refuses)
                            continue
                        mailbox.letters.append(message_from_bytes(text, EmailMessage, policy=default))
                        mailbox.recipients.append(recipients)
                        self.say(b"250 taken")
                    case [b"QUIT"]:
                        self.say(b"221 bye")
                        return
                    case [b"RCPT"]:
                        recipients.append(line.decode().strip())
                        self.say(b"250 fine")
                    case _:
                        self.say(b"250 fine")

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        mailbox.port = server.server_address[1]
        try:
            yield mailbox
        finally:
            server.shutdown()
            thread.join()


def make_certificate(folder: Path) -> Path:
    """A key and its certificate for 127.0.0.1, in one file."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    certificate.write_text(certificate.read_text() + key.read_text())
    return certificate
