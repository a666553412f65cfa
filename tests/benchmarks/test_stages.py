"""The breakdown by stage: what is in its tables, and that their arithmetic is right.

No figure is compared with another: a clock says something else on every machine. Where figures
are looked at, the clock is one that ticks once when it is read.
"""

from __future__ import annotations

import contextlib
import gc
import io
import itertools
import unittest

from tests.benchmarks import stages
from tests.benchmarks.stages import Options, Row, Stopwatch, Table

CLIENTS = 3


def ticking(step: int = 300) -> Options:
    """Few requests, and `step` nanoseconds for whatever is timed."""
    return Options(CLIENTS, 2, 2, itertools.count(0, step).__next__)


class Stages(unittest.TestCase):
    """A small run of the real thing."""

    def test_every_stage_of_a_request_has_a_row_in_its_order(self) -> None:
        names = [row.name for row in stages.measure_http(ticking()).rows]
        parts = ("wait", "recv", "transport", "head", "route", "request object", "handler")
        parts += ("JSON", "answer", "states", "send")
        self.assertEqual(len(names), len(parts))
        for part, name in zip(parts, names):
            self.assertIn(part, name)

    def test_every_stage_of_a_message_has_a_row_in_its_order(self) -> None:
        names = [row.name for row in stages.measure_tcp(ticking()).rows]
        parts = ("wait", "recv", "transport", "ends", "decode", "route", "request object")
        parts += ("handler", "encode", "states", "send")
        self.assertEqual(len(names), len(parts))
        for part, name in zip(parts, names):
            self.assertIn(part, name)

    def test_the_kernel_and_the_whole_turn_of_the_server_are_all_that_the_rows_hold(self) -> None:
        """Three calls of the kernel and one turn are timed, so the rows come to four ticks."""
        for measure in (stages.measure_http, stages.measure_tcp):
            table = measure(ticking(300))
            self.assertAlmostEqual(table.whole, 4 * 300 / CLIENTS)
            self.assertAlmostEqual(table.at_once, 300 / CLIENTS)

    def test_a_run_with_a_real_clock_ends_and_leaves_the_collector_on(self) -> None:
        for measure in (stages.measure_http, stages.measure_tcp):
            table = measure(Options(CLIENTS, 2, 1))
            self.assertGreater(table.whole, 0)
            self.assertTrue(gc.isenabled())

    def test_a_head_that_was_never_seen_is_never_seen_twice(self) -> None:
        by_hand = stages.HttpByHand(1)
        made = {by_hand.never_seen() for _ in range(100)}
        self.assertEqual(len(made), 100)
        self.assertEqual(len({len(request) for request in made}), 1)


class Times(unittest.TestCase):
    """The stopwatch."""

    def test_the_best_repetition_counts_for_each_stage(self) -> None:
        now = iter([0, 10, 10, 30, 100, 104, 104, 204])
        watch = Stopwatch(now.__next__)
        for _ in range(2):
            self.assertEqual(watch.time("a", lambda: "result"), "result")
            watch.time("b", lambda: None)
            watch.end_repetition(2)
        self.assertEqual(watch.best, {"a": 2.0, "b": 10.0})

    def test_a_stage_in_two_parts_is_their_sum(self) -> None:
        watch = Stopwatch(itertools.count(0, 5).__next__)
        watch.time("a", lambda: None)
        watch.time("a", lambda: None)
        watch.end_repetition(1)
        self.assertEqual(watch.best, {"a": 10.0})


class Printed(unittest.TestCase):
    """The tables as text."""

    table = Table(
        "GET /x",
        [Row("`recv`", "the kernel", 250.0), Row("the rest", "`server/`", 750.0)],
        1100.0,
        [Row("another way", "`app/`", 5.0)],
    )

    def test_shares_are_of_the_sum_and_come_to_all_of_it(self) -> None:
        cells = stages.lines(self.table)
        self.assertEqual([row[3] for row in cells], ["25.0%", "75.0%", "100.0%", "110.0%", "-"])
        for measured in (stages.measure_http(ticking()), stages.measure_tcp(ticking())):
            rows = stages.lines(measured)[: len(measured.rows)]
            shares = [float(share.rstrip("%")) for _, _, _, share in rows]
            self.assertAlmostEqual(sum(shares), 100, delta=0.1 * len(rows))

    def test_markdown_has_as_many_cells_in_each_line(self) -> None:
        lines = stages.markdown(self.table).split("\n")
        self.assertEqual(len(lines), 2 + 5)
        self.assertEqual({line.count("|") for line in lines}, {5})
        self.assertIn("| `recv` | the kernel | 250 | 25.0% |", lines)
        self.assertIn("| **the sum** |  | 1000 | 100.0% |", lines)

    def test_the_terminal_gets_columns_without_marks(self) -> None:
        text = stages.text(self.table)
        self.assertNotIn("`", text)
        self.assertEqual(len({len(line) for line in text.split("\n")}), 1)

    def test_the_program_prints_both_tables_and_nothing_else_as_markdown(self) -> None:
        with contextlib.redirect_stdout(io.StringIO()) as output:
            stages.main(["--markdown", "--clients=2", "--turns=1", "--repetitions=1"])
        first, second = output.getvalue().strip().split("\n\n")
        for part in (first, second):
            self.assertTrue(all(line.startswith("|") for line in part.split("\n")))

    def test_less_than_one_of_anything_is_refused(self) -> None:
        with self.assertRaises(SystemExit), contextlib.redirect_stderr(io.StringIO()):
            stages.main(["--clients=0"])


if __name__ == "__main__":
    unittest.main()
