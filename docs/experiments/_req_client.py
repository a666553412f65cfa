"""A client that prints each question and its answer on a line."""

from __future__ import annotations

import http.client
import re
from collections.abc import Iterable, Mapping

from pyliteflux import Server


def ask(
    server: Server,
    method: str,
    path: str,
    body: str | bytes | None = None,
    headers: Mapping[str, str] | None = None,
    show: Iterable[str] = (),
) -> http.client.HTTPResponse:
    """Print the answer's status and body, and those of its fields that `show` names."""
    host, port = server.http_address or ("", 0)
    connection = http.client.HTTPConnection(host, port, timeout=10)
    connection.request(method, path, body, dict(headers or {}))
    answer = connection.getresponse()
    text = answer.read().decode()
    text = re.sub(r'("request_id": )"[^"]*"', r'\1"..."', text)  # Another one each time.
    print(f"{f'{method} {path}':34} {answer.status} {text}".rstrip())
    for name in show:
        print(f"{'':34}     {name}: {answer.headers.get(name, '(none)')}")
    connection.close()
    return answer
