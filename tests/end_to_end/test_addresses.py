"""Who asks and who is asked, over real sockets: both families, behind proxies, URLs."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import unittest
from typing import Any

from pyliteflux import EventStream, ProxyHeadersMiddleware
from tests.support import (
    Client,
    LogCapture,
    ServerTestCase,
    fetch,
    needs_ipv6,
    running_server,
    wait_until,
)


class BothFamilies(ServerTestCase):
    def setUp(self) -> None:
        super().setUp()

        @self.router.register("/who", protocol="http", blocking=False)
        @self.router.register("who", protocol="tcp", blocking=False)
        def who(request: Any) -> Any:
            host, port = request.client_address  # A pair, or this is a 500.
            # T8: users compute it themselves.
            is_theirs = request.client_id == f"{host}:{port}" == request.connection_id
            return {"host": host, "port": port, "id": is_theirs, "url": getattr(request, "url", 0)}

    def ask(self, client: Client) -> dict[str, Any]:
        found: dict[str, Any] = client.get("/who").json
        self.assertEqual(found["port"], client.sock.getsockname()[1])
        self.assertIs(found["id"], True)
        return found

    @needs_ipv6
    def test_localhost_is_both_families_with_one_port(self) -> None:
        """`client-address-is-a-pair`, and C3: port 0 is one free port for both."""
        server = self.serve(http_host="localhost", tcp_host="LOCALHOST", tcp_keep_alive=True)
        for name in ("http_address", "tcp_address"):
            host, port = getattr(server, name)
            self.assertEqual(host, "127.0.0.1")
            for address in ("127.0.0.1", "::1"):
                with self.subTest(name, address=address), Client((address, port)) as client:
                    if name == "http_address":
                        self.assertEqual(self.ask(client)["host"], address)
                    else:
                        client.send('{"command": "who"}\n')
                        self.assertEqual(json.loads(client.read_line())["host"], address)
                        wait_until(lambda c=client: c.client_id in server.clients, "it is known")
                        known = server.clients[client.client_id]
                        self.assertEqual(known.address, (address, client.sock.getsockname()[1]))

    @needs_ipv6
    def test_localhost_wants_its_port_on_both(self) -> None:
        """C4: else half of the browsers would reach the other program."""
        with socket.socket(socket.AF_INET6) as other:
            other.bind(("::1", 0))
            other.listen()
            port = other.getsockname()[1]
            with (
                self.assertRaisesRegex(OSError, "port is in use"),
                running_server(self.router, http_host="localhost", http_port=port),
            ):
                pass
        with running_server(self.router, http_host="localhost", http_port=port) as server:
            self.assertEqual(server.http_address, ("127.0.0.1", port))

    @needs_ipv6
    def test_an_ipv4_client_of_a_socket_for_both_is_an_ipv4_client(self) -> None:
        """`client-address-is-a-pair`: else limits and trust see two of one client."""
        server = self.serve(http_host="::", max_connections_per_ip=1)
        assert server.http_address is not None
        self.assertEqual(len(server.http_address), 2)
        port = server.http_address[1]
        with Client(("127.0.0.1", port)) as client:
            self.assertEqual(self.ask(client)["host"], "127.0.0.1")
            story = server.why(client.client_id)
            assert story is not None
            self.assertEqual(story.address, client.sock.getsockname())
            with Client(("127.0.0.1", port)) as second:
                self.assertEqual(second.read_response().status, 503)
            with Client(("::1", port)) as six:  # Another client.
                self.assertEqual(self.ask(six)["host"], "::1")
                self.assertIsNotNone(server.why(f"::1:{six.sock.getsockname()[1]}"))


class BehindAProxy(ServerTestCase):
    FIELDS = {"X-Forwarded-For": "9.9.9.9", "X-Forwarded-Prefix": "/app/"}

    def serve_behind_proxy(self, info: bool = False, **options: Any) -> Any:
        server = self.serve(info=info)
        server.add_middleware(ProxyHeadersMiddleware(["127.0.0.1"], **options))
        return server

    def test_the_connection_keeps_its_id_for_why_and_the_log(self) -> None:
        """T8: client_id is the client's address; why() and the lines of the log have the other."""
        seen: list[Any] = []

        @self.router.register("/", blocking=False)
        def keep(request: Any) -> str:
            seen.append(request)
            return "ok"

        client = self.connect(server := self.serve_behind_proxy())
        self.assertEqual(client.get("/", fields=self.FIELDS).status, 200)
        (request,) = seen
        self.assertEqual(request.client_id, "9.9.9.9:0")
        self.assertEqual(request.client_address, ("9.9.9.9", 0))
        self.assertEqual(request.connection_id, client.client_id)
        self.assertEqual(request.peer_address, client.sock.getsockname())
        story = server.why(request.connection_id)
        assert story is not None
        self.assertEqual(story.client_id, client.client_id)

    def test_the_access_line_has_both_ids(self) -> None:
        self.router.register("/", blocking=False)(lambda request: "ok")
        lines = LogCapture()
        logger = logging.getLogger("pyliteflux.server.access")
        logger.addHandler(lines)
        self.addCleanup(logger.removeHandler, lines)
        client = self.connect(self.serve_behind_proxy(info=True))
        client.get('/?a="b"', fields=self.FIELDS)
        client.get("/plain")
        lines.wait_for("/plain")
        me = client.client_id
        self.assertEqual(
            [line.rpartition(" ")[0] for line in lines.lines()],
            [
                f'9.9.9.9:0 via {me} "GET /?a=\\x22b\\x22" 200 2',
                f'{me} "GET /plain" 404 22',
            ],
        )

    def test_two_pages_behind_one_proxy_are_two_listeners_of_a_topic(self) -> None:
        """B14, its kind: an id that many share is no id."""

        @self.router.register("/events", blocking=False)
        def events(request: Any) -> EventStream:
            return EventStream("news")

        server = self.serve_behind_proxy()
        with contextlib.ExitStack() as stack:
            ids = set()
            for _ in range(2):
                client = stack.enter_context(Client(server.http_address))
                client.send_request("GET", "/events", fields=self.FIELDS)
                client.read_head()
                ids.add(client.client_id)
            self.assertEqual(set(server.topic("news").members), ids)

    def test_a_prefix_is_in_urls_and_redirects_where_it_is_asked_for(self) -> None:
        @self.router.register("/a", blocking=False)
        def url(request: Any) -> str:
            return f"{request.root_path} {request.url}"

        for options, text in (({"prefix": True}, "/app http://test/app/a"), ({}, " http://test/a")):
            with self.subTest(options):
                server = self.serve_behind_proxy(**options)
                answer = fetch(server, "GET", "/a", fields=self.FIELDS)
                self.assertEqual(answer.text, text)


class Urls(ServerTestCase):
    def setUp(self) -> None:
        super().setUp()

        @self.router.register("/echo", blocking=False)
        def echo(request: Any) -> str:
            return str(request.url)

    def test_the_url_of_an_absolute_target_is_the_target(self) -> None:
        """`url-of-absolute-form`: RFC 9112 section 3.3; as a client sends it to a proxy."""
        client = self.connect(self.serve())
        for target in (
            "http://ex.example/echo?a=b",
            "http://ex.example/echo",
            "https://ex.example:444/echo?",
            "http://ex.example/echo?u=http://b/",
        ):
            with self.subTest(target):
                self.assertEqual(client.get(target).text, target)
        self.assertEqual(client.get("/echo?").text, "http://test/echo?")

    def test_without_host_it_is_the_address_that_was_asked(self) -> None:
        """`url-without-host`: RFC 9112 section 3.3 with 9110 section 4.2.1, never ``http:///``."""
        server = self.serve(http_host="0.0.0.0")
        assert server.http_address is not None
        port = server.http_address[1]
        for head in ("GET /echo HTTP/1.0\r\n\r\n", "GET /echo HTTP/1.1\r\nHost:\r\n\r\n"):
            with self.subTest(head), Client(("127.0.0.1", port)) as client:
                client.send(head)
                self.assertEqual(client.read_response().text, f"http://127.0.0.1:{port}/echo")


if __name__ == "__main__":
    unittest.main()
