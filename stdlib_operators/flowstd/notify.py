"""std.notify: messages to people. Where they go is in secrets."""

from __future__ import annotations

import smtplib
import ssl
from datetime import timedelta
from email.message import EmailMessage
from typing import Any, Literal
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from flowrun.operator import Context, Fail

__all__ = ["email", "log", "slack", "webhook"]

#: a server that does not answer is given up after this time, in seconds
_PATIENCE = 30.0


def slack(channel: str, message: str, webhook: str) -> None:
    """Writes a message to Slack; `webhook`: the URL of an incoming webhook."""
    import httpx  # slow to import, and a mail or a line in the log does not need it

    try:
        answer = httpx.post(webhook, json={"channel": channel, "text": message}, timeout=_PATIENCE)
    except httpx.HTTPError as error:
        raise ConnectionError(f"Slack cannot be reached: {error}") from None
    if answer.status_code >= 400:
        kind = Fail if answer.status_code < 500 and answer.status_code != 429 else ConnectionError
        raise kind(f"Slack refused the message for {channel}: {answer.status_code} {answer.text[:200]}")


def webhook(url: str, value: Any, headers: dict[str, str], token: str | None, context: Context) -> None:
    """Sends a value as JSON."""
    from .http import post  # slow to import, as above

    post(url, value, headers, token, timedelta(seconds=_PATIENCE), context)


def email(to: str, subject: str, body: str, smtp_url: str) -> None:
    """Sends a mail, through the server smtps://user:password@host?from=flow@example.org."""
    server = urlsplit(smtp_url)
    if server.scheme not in ("smtp", "smtps") or server.hostname is None:
        raise Fail("the secret `smtp_url` is no address of a mail server: smtps://user:password@host?from=…")
    mail = EmailMessage()
    mail["To"] = to
    mail["From"] = parse_qs(server.query).get("from", [f"flow@{server.hostname}"])[0]
    mail["Subject"] = subject.replace("\n", " ")
    mail.set_content(body or subject)
    with _connect(server) as connection:
        connection.send_message(mail)


def _connect(server: SplitResult) -> smtplib.SMTP:
    """A session: encrypted from the start for smtps, and where the server offers it for smtp."""
    assert server.hostname is not None
    host, port, secure = server.hostname, server.port or 0, ssl.create_default_context()
    if server.scheme == "smtps":
        connection: smtplib.SMTP = smtplib.SMTP_SSL(host, port, timeout=_PATIENCE, context=secure)
    else:
        connection = smtplib.SMTP(host, port, timeout=_PATIENCE)
    connection.ehlo()
    if server.scheme == "smtp" and connection.has_extn("starttls"):
        connection.starttls(context=secure)
    if server.username is not None:
        connection.login(unquote(server.username), unquote(server.password or ""))
    return connection


def log(message: str, level: Literal["info", "warning", "error"], context: Context) -> None:
    """Writes a message to the log of the run."""
    getattr(context.log, level)("%s", message)
