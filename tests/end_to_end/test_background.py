"""Background tasks of a running server: when they run, how they are counted, how it ends.

Chapter: docs/life-of-a-request.md.
"""

from __future__ import annotations

import json
import logging
import threading
from typing import Any

from pyliteflux import HTTPError, Middleware, PoolFull, Server, g
from tests.support import (
    DEADLINE,
    RunningThread,
    ServerTestCase,
    is_closed,
    make_server,
    stop,
    wait_for,
    wait_until,
)


class TestWhen(ServerTestCase):
    def test_they_run_after_the_handler_has_returned(self) -> None:
        """B1: never while it is still at work, in the order in which they were added."""
        order: list[str] = []
        done = threading.Event()

        @self.router.get("/")
        def handler(request: Any) -> str:
            request.bg.add(order.append, "first")
            request.bg.add(order.append, "second")
            last = request.bg.add(lambda: (order.append("third"), done.set()))
            order.append(f"handler sees {last.state}")
            self.assertFalse(done.wait(0.05))  # Nothing starts while the handler waits for it.
            order.append("handler returns")
            return "answer"

        server = self.serve(task_workers=1)
        self.assertEqual(self.connect(server).get("/").body, b"answer")
        wait_for(done, "the tasks")
        self.assertEqual(
            order, ["handler sees waiting", "handler returns", "first", "second", "third"]
        )

    def test_they_take_arguments_and_the_answer_does_not_wait(self) -> None:
        """B1, Q7: positional and named; the client is answered while the task runs."""
        go_on, done = threading.Event(), threading.Event()
        seen: list[Any] = []

        def job(user: str, kind: str = "default") -> None:
            go_on.wait(DEADLINE)
            seen.append((user, kind))
            done.set()

        @self.router.register("/task", protocol="both")
        def handler(request: Any) -> str:
            request.bg.add(job, request.protocol, kind="important")
            return "scheduled"

        server = self.serve()
        self.assertEqual(self.connect(server).get("/task").body, b"scheduled")
        tcp = self.connect_tcp(server)
        tcp.send("task\n")
        self.assertEqual(tcp.read_line(), "scheduled")
        self.assertEqual(seen, [])
        go_on.set()
        wait_until(lambda: len(seen) == 2, "both tasks")
        self.assertEqual(sorted(seen), [("http", "important"), ("tcp", "important")])

    def test_they_cannot_starve_handlers(self) -> None:
        """B1: a pool of their own, of task_workers threads."""
        go_on = threading.Event()
        names: list[str] = []
        started = threading.Semaphore(0)

        def stuck() -> None:
            names.append(threading.current_thread().name)
            started.release()
            go_on.wait(DEADLINE)

        @self.router.get("/add")
        def add(request: Any) -> str:
            for _ in range(20):
                request.bg.add(stuck)
            return threading.current_thread().name

        server = self.serve(task_workers=3, worker_threads=2)
        self.addCleanup(go_on.set)
        client = self.connect(server)
        handler_thread = client.get("/add").text
        for _ in range(3):
            self.assertTrue(started.acquire(timeout=DEADLINE))
        wait_until(lambda: server.tasks.running == 3, "three tasks run")
        for _ in range(5):  # Handlers are served as if nothing were.
            self.assertEqual(client.get("/nothing").status, 404)
        self.assertEqual((server.tasks.running, server.tasks.queued), (3, 17))
        self.assertEqual(len(names), 3)
        self.assertNotIn(handler_thread, names)
        go_on.set()
        wait_until(lambda: server.tasks.done == 20, "all tasks")

    def test_the_default_is_five_workers(self) -> None:
        """B1: task_workers."""
        self.assertEqual(Server(info=False).config.task_workers, 5)

    def test_they_are_dropped_where_the_handler_failed(self) -> None:
        """B1: with a log line that names them; the request has not happened."""

        def never() -> None:
            raise AssertionError("a dropped task has run")

        handles: list[Any] = []
        errors = [RuntimeError("x"), HTTPError(400, "no"), SystemExit(1), PoolFull("full")]
        left = iter(errors)

        @self.router.get("/")
        def handler(request: Any) -> None:
            handles.append(request.bg.add(never))
            raise next(left)

        server = self.serve()
        client = self.connect(server)
        for status in (500, 400, 500, 503):
            self.assertEqual(client.get("/").status, status)
        lines = self.logs.find("dropped background tasks")
        self.assertEqual(len(lines), 4)
        for line in lines:
            self.assertIn("never", line)
        for handle in handles:
            self.assertEqual(handle.state, "dropped")
            with self.assertRaisesRegex(RuntimeError, "dropped"):
                handle.result(0)
        tasks = server.tasks
        self.assertEqual((tasks.queued, tasks.running, tasks.done, tasks.failed), (0, 0, 0, 0))

    def test_they_are_dropped_where_a_tcp_handler_failed(self) -> None:
        """B1 on TCP."""

        @self.router.register("fail", protocol="tcp")
        def handler(request: Any) -> None:
            request.bg.add(print, "never")
            raise RuntimeError

        server = self.serve()
        client = self.connect_tcp(server)
        client.send("fail\n")
        self.assertEqual(json.loads(client.read_line())["code"], "internal")
        self.logs.wait_for("dropped background tasks: print")
        self.assertEqual(server.tasks.done, 0)

    def test_tasks_of_a_middleware_that_answered_run(self) -> None:
        """B1, M3: nothing failed there."""
        done = threading.Event()

        class Answers(Middleware):
            def process_request(self, request: Any) -> Any:
                request.bg.add(done.set)
                return {"error": "later"}, 429

        server = self.serve()
        server.add_middleware(Answers())
        self.assertEqual(self.connect(server).get("/").status, 429)
        wait_for(done, "the task")

    def test_a_slow_client_does_not_delay_them(self) -> None:
        """B1: they start when the handler has returned, not when the answer has been read."""
        done = threading.Event()

        @self.router.get("/")
        def handler(request: Any) -> bytes:
            request.bg.add(done.set)
            return b"x" * 20_000_000

        @self.router.get("/stream")
        def stream(request: Any) -> Any:
            request.bg.add(done.set)
            return ("x" * 100_000 for _ in range(200))

        server = self.serve()
        for target in ("/", "/stream"):
            done.clear()
            client = self.connect(server, receive_buffer=4096)
            client.send_request("GET", target)  # And reads nothing.
            wait_for(done, "the task")
            client.reset()

    def test_they_run_for_a_client_that_has_left(self) -> None:
        """B1: the work was accepted when the handler returned."""
        inside, go_on, done = threading.Event(), threading.Event(), threading.Event()

        @self.router.get("/")
        def handler(request: Any) -> str:
            request.bg.add(done.set)
            inside.set()
            go_on.wait(DEADLINE)
            return "nobody reads this"

        server = self.serve()
        client = self.connect(server)
        client.send_request("GET", "/")
        wait_for(inside, "the handler")
        client.reset()
        go_on.set()
        wait_for(done, "the task")

    def test_from_a_route_on_the_reactor_thread(self) -> None:
        """B1, R8: they run on the pool there too."""
        names: list[str] = []

        @self.router.get("/", blocking=False)
        def handler(request: Any) -> str:
            request.bg.add(lambda: names.append(threading.current_thread().name))
            return threading.current_thread().name

        server = self.serve()
        self.assertIn("reactor", self.connect(server).get("/").text)
        wait_until(lambda: names, "the task")
        self.assertIn("task", names[0])


class TestCounts(ServerTestCase):
    def test_each_runs_exactly_once_and_is_counted(self) -> None:
        """B2: done, failed, running, queued; an exception is logged with traceback and id."""
        runs: list[int] = []

        def job(number: int) -> int:
            runs.append(number)
            if number % 5 == 0:
                raise RuntimeError(f"broken task {number}")
            return number

        ids = []

        @self.router.get("/")
        def handler(request: Any) -> None:
            first = int(request.query_params["from"])
            for number in range(first, first + 50):
                request.bg.add(job, number)

        server = self.serve()
        client = self.connect(server)
        for start in range(0, 200, 50):
            ids.append(client.get(f"/?from={start}").get("X-Request-ID"))
        tasks = server.tasks
        wait_until(lambda: tasks.done + tasks.failed == 200, "all tasks")
        self.assertEqual((tasks.queued, tasks.running, tasks.done, tasks.failed), (0, 0, 160, 40))
        self.assertEqual(sorted(runs), list(range(200)))
        for text in ("queued=0", "running=0", "done=160", "failed=40"):
            self.assertIn(text, repr(tasks))
        failures = [record for record in self.logs.records if record.levelno == logging.ERROR]
        self.assertEqual(len(failures), 40)
        self.assertIn("RuntimeError: broken task 0", self.logs.wait_for("broken task 0\n"[:-1]))
        for record in failures:
            self.assertIn("job", record.getMessage())
            self.assertIsNotNone(record.exc_info)
            self.assertIn(record.request_id, ids)  # type: ignore[attr-defined]

    def test_a_full_queue_is_a_503_unless_handled(self) -> None:
        """B2: task_queue_limit; PoolFull is felt where the task is added."""
        go_on, started = threading.Event(), threading.Event()

        def stuck() -> None:
            started.set()
            go_on.wait(DEADLINE)

        @self.router.register("/add", protocol="both")
        def add(request: Any) -> str:
            request.bg.add(stuck)
            return "added"

        @self.router.get("/careful")
        def careful(request: Any) -> str:
            try:
                request.bg.add(stuck)
            except PoolFull as error:
                return str(error)
            return "added"

        server = self.serve(task_workers=1, task_queue_limit=2)
        self.addCleanup(go_on.set)
        client = self.connect(server)
        self.assertEqual(client.get("/add").status, 200)
        wait_for(started, "the first task")
        for _ in range(2):
            self.assertEqual(client.get("/add").status, 200)
        refused = client.get("/add")
        self.assertEqual(refused.status, 503)
        self.assertEqual(refused.json, {"error": "Service Unavailable"})
        self.assertEqual(refused.get("Retry-After"), "1")
        self.assertIn("task_queue_limit", client.get("/careful").text)
        tcp = self.connect_tcp(server)
        tcp.send("add\n")
        answer = json.loads(tcp.read_line())
        self.assertEqual((answer["error"], answer["code"]), ("Service Unavailable", "busy"))
        self.assertEqual((server.tasks.running, server.tasks.queued), (1, 2))
        go_on.set()
        wait_until(lambda: server.tasks.done == 3, "the tasks that were accepted")
        self.assertEqual(client.get("/add").status, 200)  # There is room again.

    def test_one_request_may_not_add_more_than_the_bound(self) -> None:
        """B2: tasks that wait for their handler count; all of them are dropped with it."""

        @self.router.get("/")
        def handler(request: Any) -> None:
            for _ in range(11):
                request.bg.add(print, "never")

        server = self.serve(task_queue_limit=10)
        client = self.connect(server)
        for _ in range(3):
            self.assertEqual(client.get("/").status, 503)
            self.assertEqual(server.tasks.queued, 0)

    def test_what_cannot_be_called_is_refused_where_it_is_added(self) -> None:
        """B2: a TypeError in the handler, not a failure later."""
        self.router.get("/")(lambda request: request.bg.add("not callable"))
        server = self.serve()
        self.assertEqual(self.connect(server).get("/").status, 500)
        self.assertIn("TypeError", self.logs.wait_for("must be callable"))


class TestHandles(ServerTestCase):
    def test_states_results_and_cancel(self) -> None:
        """Q7: .state, .result(timeout), .cancel()."""
        handles: dict[str, Any] = {}
        go_on, running = threading.Event(), threading.Event()

        def block() -> str:
            running.set()
            go_on.wait(DEADLINE)
            return "value"

        def fail() -> None:
            raise KeyError("why")

        @self.router.get("/")
        def handler(request: Any) -> None:
            handles["block"] = request.bg.add(block)
            handles["fail"] = request.bg.add(fail)
            handles["cancelled"] = request.bg.add(block)
            handles["early"] = request.bg.add(block)
            handles["early cancel"] = handles["early"].cancel()
            handles["states"] = [handles[name].state for name in ("block", "early")]

        server = self.serve(task_workers=1)
        self.addCleanup(go_on.set)
        self.connect(server).get("/")
        self.assertIs(handles["early cancel"], True)
        self.assertEqual(handles["states"], ["waiting", "cancelled"])
        wait_for(running, "the first task")
        self.assertEqual(handles["block"].state, "running")
        self.assertEqual(handles["fail"].state, "queued")
        self.assertIs(handles["block"].cancel(), False)  # Too late.
        with self.assertRaises(TimeoutError):
            handles["block"].result(0.001)
        self.assertIs(handles["cancelled"].cancel(), True)
        self.assertIs(handles["cancelled"].cancel(), False)
        for name in ("cancelled", "early"):
            self.assertEqual(handles[name].state, "cancelled")
            with self.assertRaisesRegex(RuntimeError, "cancelled"):
                handles[name].result(DEADLINE)
        go_on.set()
        self.assertEqual(handles["block"].result(DEADLINE), "value")
        self.assertEqual(handles["block"].result(0), "value")  # As often as one likes.
        self.assertEqual(handles["block"].state, "done")
        with self.assertRaises(KeyError):
            handles["fail"].result(DEADLINE)
        self.assertEqual(handles["fail"].state, "failed")
        self.assertIs(handles["fail"].cancel(), False)
        tasks = server.tasks
        self.assertEqual((tasks.queued, tasks.running, tasks.done, tasks.failed), (0, 0, 1, 1))

    def test_add_from_a_task_and_from_a_stream_runs_too(self) -> None:
        """B3: at once, since their handler has returned; the g is empty there too (G3)."""
        done = threading.Semaphore(0)
        seen: list[Any] = []

        def inner(name: str) -> None:
            seen.append((name, g.request_id))
            done.release()

        @self.router.get("/")
        def handler(request: Any) -> Any:
            def outer() -> None:
                request.bg.add(inner, "from a task").result(DEADLINE)

            request.bg.add(outer)

            def pieces() -> Any:
                handle = request.bg.add(inner, "from a stream")
                handle.result(DEADLINE)
                yield str(handle.state)

            return pieces()

        server = self.serve()
        response = self.connect(server).get("/")
        self.assertEqual(response.body, b"done")
        for _ in range(2):
            self.assertTrue(done.acquire(timeout=DEADLINE))
        request_id = response.get("X-Request-ID")
        self.assertEqual(sorted(seen), [("from a stream", request_id), ("from a task", request_id)])

    def test_a_stream_that_is_the_first_to_ask_for_bg_runs_them_too(self) -> None:
        """B3: whether the handler had asked for it before or not."""

        @self.router.register("/now", protocol="both")
        def handler(request: Any) -> Any:
            yield str(request.bg.add(lambda: "ran").result(DEADLINE))

        server = self.serve()
        self.assertEqual(self.connect(server).get("/now").body, b"ran")
        tcp = self.connect_tcp(server)
        tcp.send("now\n")
        self.assertEqual(tcp.read_line(), "ran")

    def test_add_from_on_finish_runs_too(self) -> None:
        """B3: the last chance of a request."""
        done = threading.Event()

        class Late(Middleware):
            def on_finish(self, request: Any) -> None:
                request.bg.add(done.set)

        server = self.serve()
        server.add_middleware(Late())
        self.connect(server).get("/nothing")
        wait_for(done, "the task")


class TestStop(ServerTestCase):
    def start(self, job: Any, **settings: Any) -> Server:
        self.router.get("/")(lambda request: request.bg.add(job) and "added")
        server = make_server(self.router, **settings)
        server.start()
        self.addCleanup(stop, server)
        return server

    def test_running_tasks_get_the_graceful_period(self) -> None:
        """B3: stop() waits for them, and for what they add."""
        inside, go_on = threading.Event(), threading.Event()
        ended: list[str] = []
        requests: list[Any] = []

        def job() -> None:
            inside.set()
            go_on.wait(DEADLINE)
            requests[0].bg.add(ended.append, "added meanwhile")
            ended.append("job")

        @self.router.get("/keep")
        def keep(request: Any) -> None:
            requests.append(request)
            request.bg.add(job)

        server = self.start(job)
        self.connect(server).get("/keep")
        wait_for(inside, "the task")
        stopping = RunningThread(server.stop)
        wait_until(lambda: is_closed(server.http_address), "the port closes")
        self.assertTrue(server.is_running)
        go_on.set()
        stopping.join()
        self.assertEqual(sorted(ended), ["added meanwhile", "job"])
        self.assertEqual(self.logs.lines(logging.WARNING), [])

    def test_what_is_abandoned_is_logged_by_name_and_once(self) -> None:
        """B3: one that runs, and those that never began."""
        inside, go_on = threading.Event(), threading.Event()
        self.addCleanup(go_on.set)

        def endless() -> None:
            inside.set()
            go_on.wait(DEADLINE)

        def never_began() -> None:
            raise AssertionError

        handles: list[Any] = []

        @self.router.get("/both")
        def both(request: Any) -> None:
            handles.append(request.bg.add(endless))
            handles.append(request.bg.add(never_began))

        server = self.start(endless, shutdown_timeout=0.05, task_workers=1)
        self.connect(server).get("/both")
        wait_for(inside, "the task")
        stop(server)
        for name in ("endless", "never_began"):
            self.assertEqual(len(self.logs.find(name, logging.WARNING)), 1, self.logs.lines())
        self.assertEqual(handles[1].state, "dropped")
        self.assertEqual(handles[0].state, "running")
        go_on.set()
        handles[0].result(DEADLINE)  # Its end still counts, though nobody waits for it.

    def test_a_task_may_stop_the_server(self) -> None:
        """C5, B3: stop() from a task, which ends in good order."""
        ended = threading.Event()

        def job() -> None:
            server.stop()
            ended.set()

        server = self.start(job)
        self.connect(server).get("/")
        wait_until(lambda: not server.is_running, "the server stops")
        self.assertTrue(ended.is_set())
        self.assertEqual(server.tasks.done, 1)
