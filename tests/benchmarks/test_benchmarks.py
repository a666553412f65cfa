"""The benchmark itself, where it can be wrong: what it counts, compares and writes.

No figure of a server is tested here, only that figures are counted and shown as they are.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import unittest
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock
from xml.etree import ElementTree

from tests.benchmarks import chart, generators, load, report, run, scenarios, servers
from tests.benchmarks.report import Measure
from tests.benchmarks.scenarios import GROUPS, PEERS, SCENARIOS

PEER = {peer.name: peer for peer in PEERS}
SCENARIO = {scenario.name: scenario for scenario in SCENARIOS}
SVG = "{http://www.w3.org/2000/svg}"
SETTING = {
    "date": "2030-01-02", "python": "3.13.0", "versions": {"wrk": "4.2.0"}, "platform": "Linux",
    "machine": "A processor", "processors": 4, "server_core": "3", "generator": "wrk",
    "seconds": 3.0, "rounds": 2, "connections": 64, "subscribers": 500, "idle": 5000,
}  # fmt: skip


def turns(**figures: list[float]) -> dict[str, list[Measure]]:
    """Return turns as `run` collects them; `_` in a name stands for `-`."""
    return {
        name.replace("_", "-"): [Measure(figure, 1000.0, 10) for figure in taken]
        for name, taken in figures.items()
    }


def fake_report() -> report.Report:
    """Return what a short run could have measured."""
    hello = report.rows(
        turns(
            pyliteflux_inline=[20.0, 30.0], pyliteflux=[25.0, 33.0], floor=[8.0, 10.0],
            falcon_bjoern=[22.0, 33.0], gunicorn_sync=[900.0, 1000.0],
        )
    )  # fmt: skip
    push = report.rows(turns(pyliteflux=[6.0, 7.0], redis=[3.0, 3.5]))
    return {
        "setting": SETTING,
        "scenarios": {
            "hello": report.described(SCENARIO["hello"], hello),
            "push": report.described(SCENARIO["push"], push),
        },
        "skipped": {"push": {"uvloop": "not installed: uvloop"}},
    }


@contextlib.contextmanager
def tiny_server(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """Yield the port of a server that hands each connection to `answer`, in a thread."""
    threads: list[threading.Thread] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            client.settimeout(10)
            answer(client)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threads.append(threading.Thread(target=serve, args=[listener.accept()[0]]))
                threads[-1].start()

    acceptor = threading.Thread(target=accept)
    acceptor.start()
    try:
        yield listener.getsockname()[1]
    finally:
        with contextlib.suppress(OSError):  # Which also wakes accept() up, but not everywhere.
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for thread in [acceptor, *threads]:
            thread.join(10)


def answering(data: bytes, seen: list[bytes] | None = None) -> Callable[[socket.socket], None]:
    """Return a server's side that answers whatever arrives with `data`."""

    def answer(client: socket.socket) -> None:
        while received := client.recv(65536):
            if seen is not None:
                seen.append(received)
            client.sendall(data)

    return answer


class Counting(unittest.TestCase):
    """What our own load generator counts."""

    def run_load(self, spec: dict[str, object], seconds: float = 0.05) -> load.Result:
        made = load.make({"connections": 2, "request": "x\n", **spec})
        try:
            return made.run(seconds)
        finally:
            if isinstance(made, load.Asking | load.FanOut):
                made.close()
            else:
                self.close_all(made)

    @staticmethod
    def close_all(made: object) -> None:
        if isinstance(made, load.Downloads):
            made.selector.close()
            for client in made.missing:
                client.close()
        elif isinstance(made, load.Idle):
            for client in made.sockets:
                client.close()

    def test_answers_are_counted_when_they_came_in_whole(self):
        seen: list[bytes] = []
        whole = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
        with tiny_server(answering(whole, seen)) as port:
            result = self.run_load({"kind": "http", "port": port})
        self.assertEqual(result.answered, len(seen))
        self.assertEqual((result.wrong, result.lost), (0, 0))
        self.assertEqual(len(result.latencies), min(result.answered, load.SAMPLE))

    def test_an_answer_cut_short_is_lost_and_not_counted(self):
        def answer(client: socket.socket) -> None:
            client.recv(100)
            client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi")

        with tiny_server(answer) as port:
            result = self.run_load({"kind": "http", "port": port})
        self.assertEqual(result.answered, 0)
        self.assertGreater(result.lost, 0)

    def test_another_status_than_asked_for_is_wrong(self):
        refusal = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"
        with tiny_server(answering(refusal)) as port:
            result = self.run_load({"kind": "http", "port": port})
        self.assertEqual(result.wrong, result.answered)
        self.assertGreater(result.wrong, 0)

    def test_chunks_are_joined(self):
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        whole = head + b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n"
        response = load.parse_response(whole + b"HTTP/1.1")
        assert response is not None
        self.assertEqual((response.body, response.size), (b"abcde", len(whole)))
        for size in range(len(whole)):
            self.assertIsNone(load.parse_response(whole[:size]))

    def test_requests_with_a_number_are_never_the_same_twice(self):
        seen: list[bytes] = []
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
        request = "GET /{n} HTTP/1.1\r\nCookie: c={n}\r\n\r\n"
        with tiny_server(answering(answer, seen)) as port:
            self.run_load({"kind": "http", "port": port, "request": request, "first": 500})
        self.assertEqual(len(set(seen)), len(seen))
        self.assertIn(b"GET /500 HTTP/1.1\r\nCookie: c=500\r\n\r\n", seen)
        next_burst = load.bursts("<{n}>", 2, 7)
        self.assertEqual([next_burst(), next_burst()], [b"<7><8>", b"<9><10>"])

    def test_all_bytes_of_a_download_are_counted_and_none_of_its_head(self):
        body = b"HTTP/1.1 200 OK\r\ncontent-length: 300000\r\n\r\n" + b"\r\n\r\n" * 75_000
        with tiny_server(answering(body)) as port:
            result = self.run_load({"kind": "file", "port": port})
        self.assertGreater(result.answered, 0)
        self.assertEqual(result.received, result.answered * 300_000)

    def test_a_download_that_is_refused_is_an_error(self):
        refusal = b"HTTP/1.1 404 No\r\nContent-Length: 1\r\n\r\n-"
        with tiny_server(answering(refusal)) as port, self.assertRaisesRegex(OSError, "404"):
            made = load.make(
                {"kind": "file", "port": port, "connections": 1, "request": "GET /file\r\n\r\n"}
            )
            try:
                made.run(0.05)
            finally:
                self.close_all(made)

    def test_idle_connections_that_the_server_closes_are_lost(self):
        def answer(client: socket.socket) -> None:
            numbers.append(len(numbers))  # Before the answer: the next comes after it.
            number = numbers[-1]
            if client.recv(100):
                client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            if number:
                client.recv(100)

        numbers: list[int] = []
        with tiny_server(answer) as port:
            made = load.make({"kind": "idle", "port": port, "connections": 3, "request": "x"})
            assert isinstance(made, load.Idle)
            made.sockets[0].settimeout(10)
            with contextlib.suppress(ConnectionError):
                made.sockets[0].recv(1, socket.MSG_PEEK)  # Its end has arrived.
            result = made.run(0)
            self.close_all(made)
        self.assertEqual((result.answered, result.lost), (2, 1))

    def test_deliveries_in_resp_are_counted_wherever_tcp_cut_them(self):
        subscribers: list[socket.socket] = []
        delivery = b"*3\r\n$7\r\nmessage\r\n$5\r\nbench\r\n$1\r\nx\r\n"

        def answer(client: socket.socket) -> None:
            while received := client.recv(65536):
                if received.startswith(b"*2"):
                    subscribers.append(client)  # Before the answer that promises it.
                    client.sendall(b"*3\r\n$9\r\nsubscribe\r\n$5\r\nbench\r\n:1\r\n")
                    continue
                for _ in range(received.count(b"PUBLISH")):
                    for subscriber in subscribers:
                        subscriber.sendall(delivery[:11])
                        subscriber.sendall(delivery[11:])
                    client.sendall(b":2\r\n")

        with tiny_server(answer) as port:
            result = self.run_load(
                {"kind": "push", "port": port, "request": "PUBLISH", "depth": 3, "wire": "resp"}
            )
        self.assertGreater(result.answered, 0)
        self.assertEqual(result.answered % 6, 0)
        self.assertEqual(result.lost, 0)

    def test_what_several_processes_saw_is_added_up(self):
        first, second = load.Result(10, 2.0, 1, 0, (0.1, 0.3)), load.Result(5, 3.0, 0, 2, (0.2,))
        self.assertEqual(
            load.add_up([first, second]), load.Result(15, 3.0, 1, 2, (0.1, 0.2, 0.3), 0)
        )

    def test_a_sample_of_latencies_keeps_order_and_ends(self):
        sample = load.thinned([float(n) for n in reversed(range(12345))])
        self.assertEqual(len(sample), load.SAMPLE)
        self.assertEqual((sample[0], sample[-1]), (0.0, 12344.0))
        self.assertAlmostEqual(statistics.median(sample), 6172, delta=10)


class Comparing(unittest.TestCase):
    """Ratios and tables."""

    def test_the_ratio_is_the_median_of_the_rounds_ratios(self):
        made = report.rows(turns(pyliteflux_inline=[10.0, 40.0, 20.0], other=[30.0, 44.0, 20.0]))
        other = next(row for row in made if row["peer"] == "other")
        # 3, 1.1 and 1; that of the medians would be 1.5.
        self.assertAlmostEqual(other["ratio"], 1.1)
        self.assertEqual((other["ratio_from"], other["ratio_to"]), (1.0, 3.0))
        self.assertEqual((other["median"], other["from"], other["to"]), (30.0, 20.0, 44.0))

    def test_rows_are_sorted_cheapest_first_and_have_floors_where_one_was_measured(self):
        made = report.rows(turns(aiohttp=[80.0], pyliteflux=[24.0], floor=[8.0], tornado=[]))
        self.assertEqual([row["peer"] for row in made], ["floor", "pyliteflux", "aiohttp"])
        self.assertEqual([row["floors"] for row in made], [1.0, 3.0, 10.0])
        self.assertEqual([row["ratio"] for row in made], [8 / 24, 1.0, 80 / 24])

    def test_without_ourselves_there_is_no_ratio(self):
        (row,) = report.rows(turns(aiohttp=[80.0]))
        self.assertIsNone(row["ratio"])
        part = report.described(SCENARIO["hello"], [row])
        self.assertIn(
            "| aiohttp | 80.0 | 80.0 - 80.0 | - | - - - | 1000 |", report.markdown_table(part)
        )

    def test_every_line_of_a_table_has_as_many_cells_as_its_head(self):
        for part in fake_report()["scenarios"].values():
            lines = list(report.markdown_table(part))
            self.assertEqual(len({line.count("|") for line in lines}), 1, lines)

    def test_wrong_and_lost_answers_are_shown(self):
        taken = {"pyliteflux": [Measure(10.0, 1.0, 5, 2, 1), Measure(10.0, 1.0, 5, 0, 3)]}
        part = report.described(SCENARIO["hello"], report.rows(taken))
        for lines in (report.markdown_table(part), report.text_table("hello", part)):
            self.assertIn("2 wrong, 4 lost", "\n".join(lines))

    def test_what_a_scenario_shows_beside_has_a_column(self):
        taken = {"pyliteflux": [Measure(90.0, 1.0, 5, 0, 0, {"p99 µs": 250.0, "other": 1.0})]}
        part = report.described(SCENARIO["one"], report.rows(taken))
        head, _, line = report.markdown_table(part)
        column = head.split(" | ").index("p99 µs")
        self.assertEqual(line.split(" | ")[column], "250.0")


class Written(unittest.TestCase):
    """The page and its charts."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def test_the_page_links_to_what_was_written_and_to_nothing_else(self):
        (self.folder / "tcp.svg").write_text("of an earlier run")
        written = report.write(fake_report(), self.folder)
        self.assertEqual(
            {path.name for path in written},
            {"README.md", "results.json", "requests.svg", "push.svg"},
        )
        self.assertEqual(set(self.folder.iterdir()), set(written))
        page = (self.folder / "README.md").read_text(encoding="utf-8")
        linked = set(re.findall(r"\]\(([\w.]+)\)", page))
        self.assertEqual(linked, {path.name for path in written} - {"README.md"})
        self.assertEqual(
            json.loads((self.folder / "results.json").read_text()),
            json.loads(json.dumps(fake_report())),
        )

    def test_the_page_says_when_where_with_what_and_who_was_left_out(self):
        page = report.page(fake_report())
        for words in ("2030-01-02", "A processor, 4 processors", "Python 3.13.0, wrk 4.2.0"):
            self.assertIn(words, page)
        self.assertIn("Not measured: uvloop: not installed: uvloop.", page)

    def test_the_summary_compares_with_the_cheapest_that_is_a_peer(self):
        lines = list(report.summary(fake_report()))
        # Neither the floor nor our other variant; (20/22 + 30/33) / 2.
        self.assertIn("| 25.0 | 29.0 | falcon-bjoern, 27.5 | 0.91 |", lines[2])
        self.assertIn("| - | 6.50 | redis, 3.25 | 2.00 |", lines[3])

    def picture(self) -> ElementTree.Element:
        part = fake_report()["scenarios"]["hello"]
        part["title"] = "a <small> & strange title"
        return ElementTree.fromstring(chart.chart("Small answers", {"hello": part}))

    def test_a_chart_is_well_formed_and_says_its_figures_in_words(self):
        root = self.picture()
        title, words = root.find(f"{SVG}title"), root.find(f"{SVG}desc")
        assert title is not None and words is not None
        self.assertEqual(root.get("role"), "img")
        self.assertEqual(root.get("aria-labelledby"), f"{title.get('id')} {words.get('id')}")
        self.assertEqual(title.text, "Small answers")
        self.assertIn("pyliteflux-inline 25.0, falcon-bjoern 27.5", words.text or "")
        texts = [element.text for element in root.iter(f"{SVG}text")]
        self.assertIn("hello: a <small> & strange title", texts)

    def test_a_chart_has_a_bar_for_each_row_in_proportion(self):
        bars = [rect for rect in self.picture().iter(f"{SVG}rect") if rect.get("x")]
        self.assertEqual(
            [bar.get("class") for bar in bars], ["floor", "ours", "peer", "ours", "peer"]
        )
        widths = [float(bar.get("width", "0")) for bar in bars]
        self.assertAlmostEqual(widths[1] / widths[0], 25 / 9, delta=0.05)
        self.assertEqual(widths, sorted(widths))

    def test_a_bar_that_would_dwarf_the_others_is_cut_and_marked(self):
        root = self.picture()
        self.assertEqual(len([x for x in root.iter(f"{SVG}line") if x.get("class") == "cut"]), 2)
        widest = max(
            float(bar.get("width", "0")) for bar in root.iter(f"{SVG}rect") if bar.get("x")
        )
        self.assertLessEqual(widest, chart.BAR)
        self.assertIn("950.0", [element.text for element in root.iter(f"{SVG}text")])

    def test_a_chart_has_colours_for_light_and_dark(self):
        style = self.picture().find(f"{SVG}style")
        assert style is not None and style.text is not None
        light, _, dark = style.text.partition("prefers-color-scheme: dark")
        for kind in ("text", ".ground", ".ours", ".peer", ".floor", ".spread", ".cut"):
            self.assertIn(kind, light)
            self.assertIn(kind, dark)


class Pieces(unittest.TestCase):
    """A long run in pieces: what earlier ones have written is kept where it fits."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def piece(self, name: str, figure: float, **setting: object) -> report.Report:
        made = report.rows(turns(pyliteflux=[figure]))
        return {
            "setting": {**SETTING, **setting},
            "scenarios": {name: report.described(SCENARIO[name], made)},
            "skipped": {name: {"nobody": f"at {figure}"}},
        }

    def write(self, piece: report.Report) -> tuple[report.Report, str]:
        together, word = report.with_earlier(piece, self.folder)
        report.write(together, self.folder)
        return together, word

    def figures(self, together: report.Report) -> dict[str, float]:
        return {name: part["rows"][0]["median"] for name, part in together["scenarios"].items()}

    def test_the_first_piece_has_nothing_to_be_merged_with(self):
        together, word = self.write(self.piece("hello", 20.0))
        self.assertEqual((self.figures(together), word), ({"hello": 20.0}, ""))

    def test_other_scenarios_are_kept_and_the_same_one_is_replaced(self):
        self.write(self.piece("tcp", 9.0))
        self.write(self.piece("hello", 20.0))
        versions = {"wrk": "4.2.0", "redis": "7.0"}
        together, word = self.write(
            self.piece("hello", 21.0, date="2030-01-03", versions=versions)
        )  # fmt: skip
        self.assertEqual(word, "kept from earlier runs: tcp")
        # In the order of the table of scenarios.
        self.assertEqual(list(self.figures(together).items()), [("hello", 21.0), ("tcp", 9.0)])
        self.assertEqual(
            together["skipped"], {"tcp": {"nobody": "at 9.0"}, "hello": {"nobody": "at 21.0"}}
        )
        self.assertEqual(together["setting"]["date"], "2030-01-03")
        self.assertEqual(together["setting"]["versions"], versions)

    def test_what_was_measured_otherwise_is_not_mixed_in(self):
        for change, said in (
            ({"machine": "Another"}, "machine was 'A processor' and is 'Another'"),
            ({"seconds": 9.0}, "seconds was 3.0 and is 9.0"),
            ({"versions": {"wrk": "5.0"}}, "wrk was 4.2.0 and is 5.0"),
        ):
            with self.subTest(said):
                self.write(self.piece("tcp", 9.0))
                together, word = self.write(self.piece("hello", 20.0, **change))
                self.assertEqual(self.figures(together), {"hello": 20.0})
                self.assertEqual(word, f"earlier results are not kept: {said}")
                (self.folder / "results.json").unlink()


class Tables(unittest.TestCase):
    """The tables of peers and scenarios."""

    def test_every_name_is_one_and_every_peer_has_its_program(self):
        self.assertEqual(len(PEER), len(PEERS))
        self.assertEqual(len(SCENARIO), len(SCENARIOS))
        for peer in PEERS:
            self.assertTrue((Path(run.__file__).parent / "peers" / f"{peer.module}.py").is_file())

    def test_every_scenario_has_a_group_and_is_served_by_ourselves(self):
        for scenario in SCENARIOS:
            self.assertIn(scenario.group, GROUPS)
            ours = [peer for peer in PEERS if peer.is_ours() and peer.serves(scenario)]
            self.assertTrue(ours, scenario.name)

    def test_requests_are_what_their_titles_say(self):
        browser = SCENARIO["browser"].request()
        self.assertEqual(browser.count("\r\n") - 2, 12)
        self.assertNotIn(load.NUMBER, browser)
        self.assertEqual(SCENARIO["browser-varied"].request().count(load.NUMBER), 2)
        self.assertEqual(len(SCENARIO["post"].body), 1000)
        self.assertEqual(len(json.dumps(scenarios.PUSHED)), 100)
        self.assertIn(f"$100\r\n{json.dumps(scenarios.PUSHED)}\r\n", scenarios.RESP_PUBLISH)

    def test_the_script_of_wrk_holds_the_request_to_the_byte(self):
        script = generators.wrk_script(SCENARIO["post"])
        quoted = re.search(r"string\.rep\((\".*\"), 1\)", script)
        assert quoted is not None
        self.assertEqual(json.loads(quoted[1]), SCENARIO["post"].request())
        self.assertIn(", 10)", generators.wrk_script(SCENARIO["pipeline"]))
        varied = generators.wrk_script(SCENARIO["varied"])
        self.assertEqual(varied.count(" .. n .. "), 2)
        self.assertNotIn(load.NUMBER, varied)


class Turns(unittest.TestCase):
    """A whole turn, with peers that need the standard library alone."""

    def bench(self, *arguments: str) -> run.Bench:
        options = run.parse_options(
            ["--generator=builtin", "--seconds=0.05", "--rounds=1", "--connections=4", *arguments]
        )
        options.pythons = []
        return run.Bench(options, servers.Cores(), Path("none"))

    def setUp(self):
        patch = mock.patch.object(generators, "WARM_UP", 0.02)
        patch.start()
        self.addCleanup(patch.stop)

    def test_a_turn_counts_what_was_answered(self):
        measure = self.bench().measure(PEER["floor"], SCENARIO["hello"])
        self.assertGreater(measure.answered, 0)
        self.assertGreater(measure.per_second, 0)
        self.assertEqual((measure.wrong, measure.lost), (0, 0))
        self.assertGreater(measure.extra["p99 µs"], 0)

    def test_a_broadcast_counts_deliveries(self):
        bench = self.bench("--subscribers=3")
        measure = bench.measure(PEER["asyncio"], SCENARIO["push-burst"])
        self.assertGreater(measure.answered, 0)
        self.assertEqual(measure.answered % (4 * scenarios.BURST), 0)  # Who asks gets it too.

    def test_who_does_not_do_the_work_is_not_measured(self):
        with self.assertRaisesRegex(servers.Unfit, "answers 1 of 10 requests"):
            patient = mock.patch.object(servers, "ANSWER_TIMEOUT", 0.2)
            with patient:
                self.bench().measure(PEER["floor"], SCENARIO["pipeline"])
        wants_more = SCENARIO["hello"]._replace(middlewares=3)
        with self.assertRaisesRegex(servers.Unfit, "runs 0 of 3 middlewares"):
            self.bench().measure(PEER["floor"], wants_more)

    def test_who_is_not_installed_is_skipped_with_a_line_and_not_tried_again(self):
        bench = self.bench()
        bench.options.scenarios = [SCENARIO["param"], SCENARIO["query"]]
        missing = PEER["floor"]._replace(name="missing", kinds=frozenset({"http"}))
        bench.options.peers = [missing._replace(module="no_such_module")]
        output = io.StringIO()
        nothing = mock.patch.object(servers.Running, "_last_words", lambda self: "not installed: x")
        with nothing, contextlib.redirect_stdout(output):
            made = run.run(bench)
        self.assertEqual(output.getvalue(), "skipped: missing in param: not installed: x\n")
        self.assertEqual(made["skipped"], {"param": {"missing": "not installed: x"}})
        self.assertEqual(made["scenarios"], {})

    def test_the_time_of_an_import_is_of_that_import(self):
        peer = PEER["pyliteflux"]._replace(imports="json.tool")
        with mock.patch.object(run, "IMPORTS", 1):
            measure = self.bench().measure(peer, SCENARIO["import"])
            self.assertGreater(measure.figure, 0)
            with self.assertRaisesRegex(servers.Unfit, "not installed.*no_such_thing"):
                self.bench().measure(peer._replace(imports="no_such_thing"), SCENARIO["import"])

    def test_a_scenario_may_want_fewer_or_more_rounds(self):
        bench = self.bench("--rounds=3")
        bench.options.scenarios = [SCENARIO["hello"]._replace(rounds=1), SCENARIO["hello"]]
        bench.options.peers = [PEER["floor"]]
        measured = mock.patch.object(run.Bench, "measure", return_value=Measure(1.0))
        with measured as measure, contextlib.redirect_stdout(io.StringIO()):
            run.run(bench)
        self.assertEqual(measure.call_count, 1 + 3 * SCENARIO["hello"].times)

    def test_what_is_pushed_must_arrive_to_the_byte(self):
        def answer(client: socket.socket) -> None:
            while client.recv(65536):
                client.sendall(b'{"message": "subscribed"}\n')

        patient = mock.patch.object(servers, "ANSWER_TIMEOUT", 0.2)
        with tiny_server(answer) as port, patient:
            with self.assertRaisesRegex(servers.Unfit, "delivers b''"):
                servers.verify_push(port, SCENARIO["push"], "json")

    def test_a_server_may_keep_what_it_has_compiled(self):
        with mock.patch.dict("os.environ", {"PYTHONDONTWRITEBYTECODE": "1", "KEPT": "1"}):
            environment = servers.compiling()
        self.assertNotIn("PYTHONDONTWRITEBYTECODE", environment)
        self.assertEqual(environment["KEPT"], "1")

    def test_what_children_have_used_counts_as_their_parents(self):
        code = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"
        child = "print('up', flush=True); input()"
        with subprocess.Popen(
            [sys.executable, "-c", code, child], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as parent:
            assert parent.stdout is not None
            self.assertEqual(parent.stdout.readline(), b"up\n")
            table = servers.table()
            family = [pid for pid, use in table.items() if use.parent == parent.pid]
            self.assertEqual(len(family), 1)
            alone, both = table[parent.pid].memory, servers.used_by(parent.pid)[1]
            self.assertGreater(both, alone)
            parent.communicate(b"\n")


class Figures(unittest.TestCase):
    """From a result to a measure."""

    def test_a_file_costs_by_the_megabyte_and_a_single_connection_by_its_median(self):
        result = load.Result(4, 2.0, 0, 0, (0.001, 0.002, 0.009), 400_000_000)
        by_size = run.measure_of(result, 0.1, SCENARIO["file"])
        self.assertAlmostEqual(by_size.figure, 250.0)
        self.assertAlmostEqual(run.measure_of(result, 0.1, SCENARIO["one"]).figure, 2000.0)
        hello = run.measure_of(result, 0.1, SCENARIO["hello"])
        self.assertAlmostEqual(hello.figure, 25_000.0)
        self.assertAlmostEqual(hello.extra["p99 µs"], 9000.0)
        self.assertEqual(hello.per_second, 2.0)

    def test_a_file_that_came_short_is_no_figure(self):
        result = load.Result(4, 2.0, 0, 0, (), 300_000_000)
        with self.assertRaisesRegex(servers.Unfit, "sends 75000000 bytes"):
            run.measure_of(result, 0.1, SCENARIO["file"])

    def test_names_that_do_not_exist_are_refused(self):
        with self.assertRaises(SystemExit), contextlib.redirect_stderr(io.StringIO()) as said:
            run.parse_options(["--peers", "pyliteflux,nobody"])
        self.assertIn("'nobody' is none of", said.getvalue())
        options = run.parse_options(["--scenarios", "tcp,hello", "--no-pin"])
        self.assertEqual([scenario.name for scenario in options.scenarios], ["tcp", "hello"])
        self.assertFalse(options.pin)


if __name__ == "__main__":
    unittest.main()
