"""While others misbehave a good client is served: the faults of tests/soak, one after the other.

No times are asserted, for a busy machine would fail: the good client gets its answers, in
order, while the fault goes on; memory stays within its bound; descriptors come back.
`python -m tests.soak faults` measures the times.
"""

from __future__ import annotations

import contextlib
import os
import time
import unittest
from typing import Any

from tests.soak import faults
from tests.soak.load import Visitor
from tests.soak.process import ServerProcess
from tests.soak.witness import Witness
from tests.support import wait_until

MEMORY = 150 * 1024 * 1024  # Bytes that 2000 unread broadcasts of 10 KB may cost.
ANSWERS = 60  # What the good client asks for while a fault goes on.


@unittest.skipUnless(os.name == "posix", "the server is stopped and limited as a POSIX process")
class BadNeighbours(unittest.TestCase):
    def setUp(self) -> None:
        self.stack = contextlib.ExitStack()
        self.addCleanup(self.stack.close)

    def serve(self, **options: Any) -> ServerProcess:
        return self.stack.enter_context(ServerProcess(**options))

    def bring_about(
        self, kind: type[faults.Fault], count: int | None = None, **options: Any
    ) -> dict[str, int]:
        """Have the witness ask in the middle of a fault; return what the fault did."""
        server = self.serve(**options)
        witness = Witness(server.http_address)
        self.stack.callback(witness.close)
        witness.ask()
        before = server.weigh()
        fault = kind(server.http_address, server.tcp_address, count)
        self.stack.callback(fault.end)
        fault.begin()
        deadline = time.monotonic() + 60
        answers = 0
        has_end = kind.is_over is not faults.Fault.is_over
        while answers < ANSWERS or (has_end and not fault.is_over):
            fault.step()
            witness.ask()
            answers += 1
            if time.monotonic() > deadline:
                raise AssertionError(f"the fault has not ended: {fault.done}")
        self.grown = server.weigh().memory - before.memory
        fault.end()
        done = fault.done
        wait_until(lambda: server.weigh().descriptors <= before.descriptors, "descriptors back")
        wait_until(lambda: server.stats()["connections"] == 1, "only the witness is left")
        witness.ask()
        witness.close()
        self.assertEqual(server.stop(), 0)
        self.assertEqual([line for line in server.log_lines() if "Traceback" in line], [])
        return done

    def test_two_hundred_connections_dribbling_headers(self) -> None:
        done = self.bring_about(faults.SlowHeaders)
        self.assertGreater(done["bytes"], 200 * ANSWERS / 2)

    def test_fifty_uploads_a_byte_at_a_time(self) -> None:
        done = self.bring_about(faults.SlowUploads)
        self.assertGreater(done["bytes"], 50 * ANSWERS / 2)

    def test_two_hundred_clients_dribbling_messages(self) -> None:
        done = self.bring_about(faults.SlowMessages)
        self.assertGreater(done["bytes"], 200 * ANSWERS / 2)

    def test_twenty_readers_that_never_read_50_megabytes(self) -> None:
        self.bring_about(faults.NoReaders)
        self.assertLess(self.grown, MEMORY)

    def test_clients_that_never_read_two_thousand_broadcasts(self) -> None:
        done = self.bring_about(faults.DeafClients)
        self.assertEqual(done["messages in order"], 2 * 2000)
        self.assertLess(self.grown, MEMORY)

    def test_clients_that_never_read_are_kept_where_old_messages_may_be_dropped(self) -> None:
        done = self.bring_about(faults.DeafClients, slow_client_policy="drop_oldest")
        self.assertEqual(done["messages in order"], 2 * 2000)
        self.assertLess(self.grown, MEMORY)

    def test_fifty_handlers_asleep(self) -> None:
        self.bring_about(faults.Sleepers)

    def test_five_hundred_resets_in_all_states(self) -> None:
        done = self.bring_about(faults.Resets)
        self.assertEqual(done["resets"], 500)

    def test_two_thousand_connects_and_closes(self) -> None:
        done = self.bring_about(faults.Connects)
        self.assertEqual(done["connects"], 2000)

    def test_every_kind_of_conversation_is_answered_to_its_last_byte(self) -> None:
        """What `make soak` does for minutes, once."""
        server = self.serve()
        before = server.weigh()
        visitor = Visitor(server.http_address, server.tcp_address, seed=1)
        for converse in visitor.kinds:
            with self.subTest(converse.__name__):
                converse()
        visitor.visit()
        self.assertEqual(sum(visitor.counts.values()), 1)
        wait_until(lambda: server.weigh().descriptors <= before.descriptors, "descriptors back")
        wait_until(lambda: server.stats()["connections"] == 0, "nobody is left")
        self.assertEqual(server.stop(), 0)
        self.assertEqual([line for line in server.log_lines() if "Traceback" in line], [])

    def test_a_process_out_of_descriptors_sleeps_and_recovers(self) -> None:
        server = self.serve(descriptors=150, accept_pause=0.05)
        witness = Witness(server.http_address)
        self.stack.callback(witness.close)
        witness.ask()
        before = server.weigh()
        fault = faults.NoDescriptors(server.http_address, server.tcp_address)
        self.stack.callback(fault.end)
        fault.begin()
        began, cpu = time.monotonic(), server.weigh().cpu
        for _ in range(20):
            witness.ask()
            time.sleep(0.025)  # What is looked at is what the server does meanwhile: nothing.
        if before.memory:
            self.assertLess(server.weigh().cpu - cpu, 0.3 * (time.monotonic() - began))
        fault.end()
        self.assertEqual(fault.done["answered after it"], fault.count)
        wait_until(lambda: server.weigh().descriptors <= before.descriptors, "descriptors back")
        witness.close()
        self.assertEqual(server.stop(), 0)


if __name__ == "__main__":
    unittest.main()
