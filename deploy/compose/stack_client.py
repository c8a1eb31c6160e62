"""Requests to the running stack, through nginx like any client's."""

import json
import ssl
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any

from deploy.compose.settings import Settings


class NoAnswer(Exception):
    """There was no HTTP answer; the message says why."""


def ask(settings: Settings, path: str, body: object = None, timeout: float = 5) -> tuple[int, dict[str, Any]]:
    """Status and JSON object ({} if there is none) of a GET, or of a POST with `body`. Raises NoAnswer."""
    connection = _connect(settings, _unverified(), timeout)
    headers = {"Authorization": f"Bearer {settings.api_key}"} if settings.api_key else {}
    try:
        if body is None:
            connection.request("GET", path, headers=headers)
        else:
            headers["Content-Type"] = "application/json"
            connection.request("POST", path, json.dumps(body), headers)
        response = connection.getresponse()
        text = response.read()
    except (OSError, HTTPException) as error:
        raise NoAnswer(str(error) or type(error).__name__) from None
    finally:
        connection.close()
    try:
        answer = json.loads(text)
    except ValueError:
        answer = {}
    return response.status, answer if isinstance(answer, dict) else {}


def certificate_is_trusted(settings: Settings, cafile: str | None = None) -> bool:
    """Whether a client that trusts the system's authorities, or `cafile` instead, would connect."""
    try:
        context = ssl.create_default_context(cafile=cafile)
        # From Python 3.13 on, the default is stricter than curl, for which the answer is meant.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        connection = _connect(settings, context, timeout=5)
        connection.connect()
    except OSError:
        return False
    connection.close()
    return True


def _connect(settings: Settings, context: ssl.SSLContext, timeout: float) -> HTTPConnection:
    if settings.tls:
        return HTTPSConnection(settings.host, settings.port, timeout=timeout, context=context)
    return HTTPConnection(settings.host, settings.port, timeout=timeout)


def _unverified() -> ssl.SSLContext:
    """For this machine's own nginx, at an address that a real certificate does not name."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
