"""What a server meets on the open network, what this one does about it, and who tests that.

Two tables: `LIMITS`, each threat with its answer and its settings, and `ADVISORIES`, the kinds
of faults that good servers have had. tests/test_limits.py checks both against the settings and
the tests; the chapter docs/limits.md is written from them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

KIB, MIB = 1024, 1024 * 1024


class Limit(NamedTuple):
    """number: others refer to it. settings: each with the default that is promised.

    tests: "path.of.module.Class.test_name" below tests/; a class alone: all that is in it.
    """

    number: int
    threat: str
    answer: str
    settings: dict[str, Any]
    tests: tuple[str, ...]


class Advisory(NamedTuple):
    """A kind of fault, where it happened, and what is done here that it does not."""

    kind: str
    happened: str
    here: str
    tests: tuple[str, ...]


_HTTP = "channels.test_http_channel"
_TCP = "channels.test_message_channel"
_LIMITS = "server.test_limits"
_FAULTS = "end_to_end.test_faults"
_NEIGHBOURS = "end_to_end.test_bad_neighbours.BadNeighbours"
_SERVER = "end_to_end.test_server"
_CONNECTIONS = "server.test_connections"
_STOP = "end_to_end.test_stop"
_CORPUS = "protocol.test_http_corpus.CorpusTest"

LIMITS = (
    Limit(
        1,
        "slow heads (slowloris)",
        "one deadline for the whole head, from its first byte, or from the accept where it is "
        "the first; bytes do not move it. 408 and close; a silent connection is just closed",
        {"header_timeout": 10.0},
        (
            f"{_HTTP}.Deadlines.test_a_silent_client_is_closed_header_timeout_after_the_accept",
            f"{_HTTP}.Deadlines.test_the_first_head_has_header_timeout_from_the_accept",
            f"{_HTTP}.Deadlines.test_a_later_head_has_header_timeout_from_its_first_byte",
            f"{_HTTP}.Deadlines.test_bytes_do_not_renew_header_timeout",
            f"{_NEIGHBOURS}.test_two_hundred_connections_dribbling_headers",
        ),
    ),
    Limit(
        2,
        "slow bodies",
        "408 and close where no byte comes for so long, or too few on average after that",
        {"body_timeout": 20.0, "min_body_rate": 256},
        (
            f"{_HTTP}.Deadlines.test_body_timeout_runs_from_the_last_byte",
            f"{_HTTP}.Deadlines.test_a_body_below_the_minimal_rate_is_refused_after_body_timeout",
            f"{_HTTP}.Deadlines.test_a_body_at_the_minimal_rate_may_take_its_time",
            f"{_HTTP}.Bodies.test_the_body_timeout_of_a_stream_reaches_who_reads_it",
            f"{_NEIGHBOURS}.test_fifty_uploads_a_byte_at_a_time",
        ),
    ),
    Limit(
        3,
        "a peer that does not read",
        "reset where it takes no byte for so long: a plain close would leave its megabytes with "
        "the kernel. Of what is not sent yet the kernel may hold a little only, so that the rest "
        "is seen here and counts",
        {"send_timeout": 30.0, "kernel_unsent_limit": 128 * KIB},
        (
            f"{_HTTP}.Deadlines.test_a_peer_that_takes_no_byte_is_reset_after_send_timeout",
            f"{_HTTP}.Deadlines.test_progress_renews_send_timeout",
            f"{_TCP}.Deadlines.test_a_peer_that_takes_no_byte_is_reset_after_send_timeout",
            f"{_FAULTS}.Readers.test_a_client_that_reads_nothing_is_bounded_and_reset",
            f"{_FAULTS}.Readers.test_the_kernel_holds_little_for_who_does_not_read",
            f"{_LIMITS}.Orphans",
            f"{_NEIGHBOURS}.test_twenty_readers_that_never_read_50_megabytes",
        ),
    ),
    Limit(
        4,
        "idle connections",
        "closed after a while; where the server is full, those that are idle for longest first",
        {"keep_alive_timeout": 30.0, "keep_alive_requests": 0},
        (
            f"{_HTTP}.Deadlines.test_a_kept_connection_is_closed_after_keep_alive_timeout",
            f"{_HTTP}.Deadlines.test_each_answer_renews_keep_alive_timeout",
            f"{_HTTP}.Deadlines.test_empty_lines_do_not_renew_keep_alive_timeout",
            f"{_CONNECTIONS}.Accepting.test_a_full_server_closes_the_longest_idle_connection_first",
            f"{_LIMITS}.FullServer",
            f"{_LIMITS}.ManyRequests"
            ".test_a_connection_is_closed_after_so_many_requests_and_not_one_before",
        ),
    ),
    Limit(
        5,
        "big heads",
        "414 for the line, 431 for the head or its fields, and close",
        {"max_request_line": 8 * KIB, "max_header_size": 32 * KIB, "max_headers": 100},
        (
            f"{_CORPUS}.test_each_case_fed_whole",
            f"{_CORPUS}.test_each_case_fed_byte_by_byte",
            f"{_CORPUS}.test_a_refusal_waits_neither_for_more_nor_for_the_end",
        ),
    ),
    Limit(
        6,
        "giant bodies",
        "413 before the first byte is read where the length says so, else as soon as it is too "
        "much; the rest is dropped for a moment, so that the 413 can be read",
        {"max_body_size": 10 * MIB, "linger_timeout": 2.0},
        (
            f"{_CORPUS}.test_each_case_fed_whole",
            f"{_HTTP}.Deadlines.test_an_error_stays_readable_while_its_peer_goes_on_sending",
            f"{_HTTP}.Deadlines.test_a_peer_that_does_not_close_is_closed_after_linger_timeout",
            f"{_HTTP}.Deadlines.test_bytes_do_not_renew_linger_timeout",
            f"{_FAULTS}.Readers.test_an_answer_is_readable_though_the_body_was_not_wanted",
        ),
    ),
    Limit(
        7,
        "chunk tricks",
        "400 for a size line that is too long or no size; 413 where a chunked body takes more "
        "than 8 times max_body_size and 64 KiB on the wire; 431 for trailers",
        {"max_chunk_line": 256},
        (
            f"{_CORPUS}.test_each_case_cut_at_every_place",
            f"{_LIMITS}.ChunkFraming",
        ),
    ),
    Limit(
        8,
        "one peer keeps the loop busy",
        "in one turn a connection is read from once, and 16 of its requests, or 5 ms of its "
        "work, are dealt with; then it is the others' turn, and what arrives until its next one "
        "is only buffered",
        {"recv_size": 64 * KIB, "max_accepts": 64, "loop_budget_ms": 5},
        (
            "reactor.test_transport.Reading.test_one_turn_reads_once",
            "reactor.test_transport.Writing.test_one_turn_sends_only_so_much",
            f"{_CONNECTIONS}.Accepting.test_one_turn_accepts_only_so_many",
            f"{_HTTP}.Order.test_one_turn_answers_only_so_many_requests_of_one_connection",
            f"{_TCP}.Order.test_one_turn_answers_only_so_many_messages_of_one_connection",
            f"{_LIMITS}.ManyRequests.test_a_message_of_nothing_but_brackets_is_read_in_small_pieces",
            f"{_LIMITS}.ManyRequests"
            ".test_a_body_of_tiny_chunks_leaves_the_turn_to_others_after_the_budget",
            "server.test_budget",
            "server.test_budget.LargeMessages",
        ),
    ),
    Limit(
        9,
        "asking without reading",
        "who is owed an answer, or has not taken those that are ready, is not read from",
        {"write_high_water": 256 * KIB, "write_low_water": 64 * KIB},
        (
            f"{_HTTP}.Order.test_nothing_new_is_answered_while_the_peer_does_not_read",
            f"{_HTTP}.Order.test_later_requests_stay_with_the_peer_while_a_handler_works",
            f"{_TCP}.Order.test_nothing_new_is_answered_while_the_peer_does_not_read",
            "end_to_end.test_tcp.TestOrder.test_a_client_that_pipelines_and_does_not_read_is_not_read",
        ),
    ),
    Limit(
        10,
        "slow consumers of pushes",
        "each message is encoded once for all; what waits for one client is bounded, and over the "
        "bound it is told why and disconnected, or messages to it are dropped and counted. A "
        "newcomer is told as many members as fit, and how many there are",
        {
            "tcp_send_limit": MIB,
            "slow_client_policy": "disconnect",
            "event_buffer": 256 * KIB,
            "presence_list_bytes": 64 * KIB,
        },
        (
            f"{_TCP}.Pushes",
            "push.test_push_queue.OverTheLimit",
            "push.test_topics.Presence.test_a_newcomer_is_told_as_many_members_as_fit_and_the_count",
            "end_to_end.test_push.TestSlowClients",
            "end_to_end.test_events.TestLeaving.test_a_client_that_does_not_read_is_cut",
            f"{_NEIGHBOURS}.test_clients_that_never_read_two_thousand_broadcasts",
            f"{_NEIGHBOURS}"
            ".test_clients_that_never_read_are_kept_where_old_messages_may_be_dropped",
        ),
    ),
    Limit(
        11,
        "descriptors run out",
        "max_connections is lowered to what the process may open, less 64 or a quarter of it; "
        "over it, or over the nine tenths that one port may have, a 503 with Retry-After, or the "
        "TCP error busy. Where they run out all the same, accepting pauses for a moment, with a "
        "log line a second",
        {"max_connections": 10000, "accept_pause": 0.1, "backlog": 1024},
        (
            f"{_LIMITS}.FullServer.test_who_fills_one_port_does_not_shut_the_other",
            f"{_CONNECTIONS}.ConnectionLimit"
            ".test_of_few_descriptors_three_quarters_are_for_connections",
            f"{_CONNECTIONS}.Accepting",
            f"{_CONNECTIONS}.ConnectionLimit",
            f"{_LIMITS}.Watching",
            f"{_FAULTS}.Descriptors.test_out_of_descriptors_the_server_recovers",
            f"{_NEIGHBOURS}.test_a_process_out_of_descriptors_sleeps_and_recovers",
        ),
    ),
    Limit(
        12,
        "one address opens everything",
        "503 over so many connections of one address",
        {"max_connections_per_ip": 0},
        (f"{_CONNECTIONS}.Accepting.test_one_address_has_a_limit_of_its_own",),
    ),
    Limit(
        13,
        "resets at any moment",
        "an error of a socket ends that connection, whatever state it is in",
        {},
        (
            f"{_HTTP}.Failures.test_every_reset_at_every_state_gives_everything_back",
            f"{_TCP}.Order.test_every_reset_at_every_state_gives_everything_back",
            f"{_CONNECTIONS}.Accepting.test_a_peer_that_was_gone_before_accept_is_dropped",
            f"{_FAULTS}.Storms.test_clients_that_reset_at_any_moment_leave_nothing_behind",
            f"{_NEIGHBOURS}.test_five_hundred_resets_in_all_states",
            f"{_NEIGHBOURS}.test_two_thousand_connects_and_closes",
        ),
    ),
    Limit(
        14,
        "half-closed connections",
        "what was asked is answered, then the connection is closed; it is not polled meanwhile",
        {},
        (
            f"{_HTTP}.Order.test_a_half_closed_client_gets_its_answers_then_the_end",
            f"{_HTTP}.Order.test_a_half_closed_client_is_not_polled_while_its_handler_works",
            f"{_HTTP}.Order.test_a_half_closed_client_that_reads_nothing_is_not_polled_either",
            f"{_TCP}.Order.test_a_half_closed_client_gets_its_answers_then_the_end",
        ),
    ),
    Limit(
        15,
        "handlers that wait take all threads",
        "threads are started by need; while the request at the front of their queue has waited "
        "too long, or the queue is full, a 503 with Retry-After at once. A TCP message waits "
        "instead, and its connection is not read from. Handlers, generators, tasks, and what "
        "gives back have threads of their own",
        {
            "worker_threads": 64,
            "worker_queue_limit": 0,
            "worker_queue_timeout": 5.0,
            "stream_workers": 64,
            "cleanup_workers": 16,
        },
        (
            f"{_LIMITS}.BlockedStreams",
            "reactor.test_workers.Growth",
            "reactor.test_workers.Bounds.test_a_full_queue_refuses",
            "reactor.test_workers.Bounds"
            ".test_a_queue_whose_front_has_waited_for_too_long_refuses_and_not_before",
            f"{_HTTP}.Failures.test_a_full_pool_is_a_503_with_retry_after",
            f"{_TCP}.Order.test_where_the_pool_is_full_a_message_waits_and_so_do_those_behind_it",
            f"{_FAULTS}.Handlers",
            f"{_NEIGHBOURS}.test_fifty_handlers_asleep",
        ),
    ),
    Limit(
        16,
        "a handler that never returns",
        "a thread cannot be killed: 504 and close, its stack in the log, and another thread in "
        "its place, up to twice worker_threads",
        {"handler_timeout": 0.0},
        (
            f"{_HTTP}.Deadlines.test_handler_timeout_is_a_504_with_the_stack_in_the_log",
            f"{_HTTP}.Deadlines.test_without_handler_timeout_a_handler_may_take_for_ever",
            f"{_TCP}.Deadlines"
            ".test_handler_timeout_is_an_error_with_the_stack_in_the_log_and_the_end",
            f"{_LIMITS}.Replacements",
            "reactor.test_workers.Bounds.test_threads_are_daemons_with_a_name",
        ),
    ),
    Limit(
        17,
        "generators that are slow, endless, or raise",
        "one is stepped on a worker, and only while there is room for its pieces; where it "
        "raises, or a step takes too long, the body is cut so that it cannot look complete; where "
        "the client leaves it is closed",
        {"stream_step_timeout": 0.0},
        (
            f"{_LIMITS}.StreamSteps",
            "channels.test_http_stream.Streams",
            "channels.test_stream_pull.StreamPullTest",
        ),
    ),
    Limit(
        18,
        "handlers, middlewares, hooks, framers, log handlers that raise",
        "500 that says nothing but its request id; the traceback is in the log. Whatever they "
        "raise, KeyboardInterrupt alone excepted: it is the second Ctrl-C",
        {"debug": False},
        (
            "server.test_raised_anywhere.Raised",
            "app.test_pipeline.TestHttp.test_exceptions_end_here",
            f"{_FAULTS}.Handlers.test_what_handlers_raise_does_not_use_up_the_pool",
            "end_to_end.test_features.DebugPageTests.test_never_without_debug",
        ),
    ),
    Limit(
        19,
        "background tasks that raise, or are too many",
        "logged and counted; add() over the bound raises PoolFull, unhandled a 503; a stop waits "
        "for them, then names those that it gives up",
        {"task_workers": 5, "task_queue_limit": 100000},
        ("end_to_end.test_background.TestCounts", "end_to_end.test_background.TestStop"),
    ),
    Limit(
        20,
        "a message without an end",
        "the error message_too_large once, then close",
        {"tcp_max_message": MIB},
        (
            "protocol.test_framing.Limits",
            "end_to_end.test_tcp.TestErrors.test_a_message_over_the_limit_closes_and_names_both_sizes",
            "end_to_end.test_tcp.TestErrors.test_endless_data_without_a_newline_is_one_error",
        ),
    ),
    Limit(
        21,
        "a message that is never finished",
        "the error timeout, then close; bytes do not move the deadline",
        {"tcp_message_timeout": 30.0},
        (
            f"{_TCP}.Deadlines"
            ".test_tcp_message_timeout_runs_from_the_first_byte_and_bytes_do_not_renew_it",
            f"{_TCP}.Deadlines.test_a_message_begun_behind_another_has_its_own_time",
            f"{_NEIGHBOURS}.test_two_hundred_clients_dribbling_messages",
        ),
    ),
    Limit(
        22,
        "messages that cannot be read",
        "one error bad_message each, in step at the next line",
        {"tcp_max_depth": 64},
        (
            "protocol.test_framing.Splitting",
            "protocol.test_framing.Limits.test_nesting_at_the_limit_passes",
            f"{_TCP}.Order.test_a_bad_message_costs_one_error_and_the_next_is_in_step",
        ),
    ),
    Limit(
        23,
        "silent TCP clients",
        "kept for ever unless asked otherwise, as pushes may be rare; the kernel probes whether "
        "the peer's machine is there, 60 s, 10 s, 6 times; a heartbeat of ours on request",
        {"tcp_idle_timeout": 0.0, "so_keepalive": True, "tcp_ping_interval": 0.0},
        (
            f"{_TCP}.Deadlines.test_a_long_lived_client_may_be_silent_for_ever",
            f"{_TCP}.Deadlines.test_tcp_idle_timeout_runs_from_the_last_answer",
            f"{_TCP}.Deadlines.test_blank_lines_do_not_renew_tcp_idle_timeout",
            f"{_LIMITS}.Probes",
        ),
    ),
    Limit(
        24,
        "pushes from many threads",
        "queued and announced, never sent by the caller; in order per caller; who pushes faster "
        "than the reactor delivers gets PoolFull",
        {"push_backlog": 100000, "push_backlog_bytes": 64 * MIB},
        (
            "end_to_end.test_push.TestWhereFrom",
            "end_to_end.test_push.TestOrder",
            f"{_LIMITS}.Pushes.test_who_pushes_faster_than_the_reactor_delivers_is_told",
            f"{_LIMITS}.Pushes.test_what_waits_for_the_reactor_is_bounded_in_bytes_too",
        ),
    ),
    Limit(
        25,
        "a full self-pipe",
        "no error: the reactor is about to wake up anyway",
        {},
        (
            "reactor.test_waker.WakerTest.test_a_full_pipe_is_no_error",
            "reactor.test_waker.WakerTest.test_no_wake_up_is_lost_under_many_threads",
        ),
    ),
    Limit(
        26,
        "line ends in header values",
        "500, and not a byte of it is sent",
        {},
        (
            "end_to_end.test_responses.ServerFieldTests.test_no_line_end_gets_into_a_head",
            "end_to_end.test_features.CookieTests"
            ".test_an_injection_is_a_500_and_nothing_of_it_is_sent",
        ),
    ),
    Limit(
        27,
        "paths and links that lead out of a directory, redirects to other hosts",
        "404; links are followed inside of the directory only",
        {"static_follow_symlinks": False},
        (
            "extras.test_static.StaticPaths",
            "end_to_end.test_static.StaticTest.test_hostile_targets_are_a_404",
            "app.test_response.OtherResponsesTests.test_a_redirect_never_leads_to_another_host_by_accident",
        ),
    ),
    Limit(
        28,
        "cookies",
        "HttpOnly and SameSite=Lax unless said otherwise; a name, value or attribute that could "
        "smuggle another is a ValueError; signed ones need a key",
        {"secret_key": b""},
        (
            "app.test_cookies.FormatCookieTests.test_the_defaults_are_the_safe_ones",
            "app.test_cookies.FormatCookieTests.test_no_attribute_lets_another_one_in",
            "app.test_cookies.SignerTests.test_an_empty_secret_is_refused_by_the_name_of_the_setting",
        ),
    ),
    Limit(
        29,
        "forged log lines",
        "controls are escaped; colours for terminals only; one line a request at most",
        {"log_colors": "auto", "access_log": True},
        (
            "test_log.EscapeTests",
            "test_console.ConsoleTests.test_colours_are_for_terminals",
            f"{_LIMITS}.LogLines",
        ),
    ),
    Limit(
        30,
        "JSON and XML bombs",
        "deep nesting is an error like any other; XML has no DOCTYPE and no entities",
        {},
        (
            "test_jsontext",
            "protocol.test_message.ReadingXml",
            "app.test_request.HTTPRequestTests.test_broken_json_is_a_400_when_first_read_and_when_read_again",
        ),
    ),
    Limit(
        31,
        "forms",
        "read when a handler asks for them, on its thread; 413 over a limit",
        {
            "max_form_fields": 1000,
            "max_form_parts": 1000,
            "max_form_memory": MIB,
            "max_part_headers": 16,
            "max_part_header_size": 8 * KIB,
            "upload_memory": 256 * KIB,
        },
        ("app.test_multipart.LimitTests",),
    ),
    Limit(
        32,
        "SIGTERM and SIGINT",
        "what the kernel has accepted is taken, and the ports are closed; what was begun is "
        "finished, with Connection: close, for so long; then it is cut and named in the log; a "
        "second signal ends at once; status 0",
        {"shutdown_timeout": 10.0},
        (f"{_SERVER}.SignalTests", _STOP, "end_to_end.test_rolling_restart"),
    ),
    Limit(
        33,
        "stop() from anywhere, and twice",
        "allowed: it never waits for a thread that waits for it",
        {},
        (f"{_SERVER}.StopTests", f"{_STOP}.FromAnywhere", f"{_LIMITS}.AfterTheEnd"),
    ),
    Limit(
        34,
        "signals between any two instructions",
        "handlers only count; the reactor hears of them through its self-pipe",
        {},
        (
            f"{_SERVER}.SignalTests.test_stop_may_be_called_in_a_signal_handler",
            f"{_SERVER}.SignalTests.test_signals_are_left_alone_outside_the_main_thread",
            f"{_STOP}.OtherSignals",
        ),
    ),
    Limit(
        35,
        "killed and started again",
        "the port can be had at once; it is never shared unless asked for",
        {"reuse_port": False},
        (
            "reactor.test_acceptor.Listening.test_a_port_can_be_had_again_at_once",
            "reactor.test_acceptor.Listening.test_reuse_port_shares_a_port",
            f"{_STOP}.KilledAndStartedAgain",
        ),
    ),
    Limit(
        36,
        "a port in use",
        "OSError with one line that says what to do; nothing is half started",
        {},
        (
            f"{_SERVER}.PortInUseTests",
            "server.test_ports.Opening.test_a_port_in_use_leaves_nothing_behind",
        ),
    ),
    Limit(
        37,
        "fork",
        "all is made in run(), so before it a fork is fine; a child of a running server closes its "
        "copies; descriptors are not inherited by other programs",
        {},
        (
            "reactor.test_loop.Threads.test_a_forked_child_closes_its_copy_and_the_parent_goes_on",
            "reactor.test_acceptor.Listening.test_it_listens_without_blocking_and_is_not_inherited",
            f"{_STOP}.Fork",
        ),
    ),
    Limit(
        38,
        "clocks that jump, machines that sleep",
        "deadlines are monotonic; after a long sleep what came meanwhile is read before anybody is "
        "judged late",
        {},
        (
            f"{_LIMITS}.LongSleep",
            f"{_CONNECTIONS}.Sweeping.test_after_a_long_sleep_data_comes_before_deadlines",
            "test_limits.WallClock",
        ),
    ),
    Limit(
        39,
        "memory and threads creep",
        "no thread belongs to a connection; after any load everything is given back",
        {},
        (
            f"{_FAULTS}.Storms.test_after_a_run_no_thread_and_no_descriptor_is_left",
            f"{_LIMITS}.NothingIsKept",
            "server.test_runtime.RandomWorlds",
            "reactor.test_workers.Growth.test_an_idle_worker_ends",
        ),
    ),
    Limit(
        40,
        "a bug of ours in the loop",
        "logged; it costs the connection that it happened to; a turn that takes long is reported "
        "with the stack of whoever holds it",
        {"slow_callback_ms": 100, "slow_handler_ms": 10000},
        ("reactor.test_loop.Exceptions", "reactor.test_watchdog", f"{_CONNECTIONS}.Sweeping"),
    ),
    Limit(
        41,
        "many bodies, or TCP messages, that each are allowed",
        "all bodies in memory are counted together; over the limit the one that takes longest is "
        "given up with a 503. All TCP messages over 16 KiB have as much again: over it what is "
        "arriving is not read on until there is room",
        {"max_buffered_bodies": 256 * MIB},
        (
            f"{_LIMITS}.BufferedBodies",
            f"{_LIMITS}.TheReason",
            f"{_TCP}.LargeMessages",
        ),
    ),
    Limit(
        42,
        "pushes that nobody acknowledges",
        "given up after a while; over so many of one client PoolFull",
        {"ack_timeout": 30.0, "max_pending_acks": 1000},
        (f"{_LIMITS}.Pushes",),
    ),
    Limit(
        43,
        "a log that nobody reads, or a log handler that blocks",
        "lines are written by a thread of their own; over so many that wait they are dropped and "
        "counted: by the reactor at once, by other threads where the writer is stuck; the end of "
        "a run waits a second for the rest",
        {"log_queue_limit": 10_000},
        ("test_log_writer.Writing", f"{_SERVER}.StuckLogTests"),
    ),
    Limit(
        44,
        "a client that joins and leaves topics faster than on_join and on_leave return",
        "it cannot join one more while so many calls wait, and is told so by a 429; it can always "
        "leave, and the application hears of each leave that follows a join",
        {"max_waiting_hooks": 1000},
        ("push.test_hooks",),
    ),
)

ADVISORIES = (
    Advisory(
        "request smuggling: two servers read one request in two ways",
        "waitress CVE-2019-16785, -16786, -16789, -16792, CVE-2022-24761; gunicorn CVE-2024-1135, "
        "-6827; aiohttp CVE-2023-37276, CVE-2024-52304, CVE-2025-53643; h11 CVE-2025-43859; "
        "Twisted CVE-2022-24801; gevent CVE-2023-41419; HAProxy CVE-2021-40346",
        "what could be read in two ways is refused with 400 and close, and the rest of the bytes "
        "is never looked at",
        (
            f"{_CORPUS}.test_each_case_fed_whole",
            f"{_CORPUS}.test_each_case_cut_at_every_place",
            f"{_CORPUS}.test_a_machine_that_has_refused_is_dead",
            "end_to_end.test_http_corpus",
        ),
    ),
    Advisory(
        "commands from a web page: a browser sends them behind an HTTP head, to any port",
        "Redis before 3.2.7 (cross protocol scripting)",
        "a TCP connection that begins with an HTTP request line, or as TLS does, is told what port "
        "it has reached, and nothing behind that is read, in every framing with lines",
        (
            "protocol.test_framing.Openings",
            "end_to_end.test_tcp_framing.Strangers",
        ),
    ),
    Advisory(
        "a request handled after a failed one, answers out of order",
        "waitress CVE-2024-49768; Twisted CVE-2023-46137, CVE-2024-41671",
        "one request of a connection has the turn; the next is not parsed before its answer",
        (
            f"{_HTTP}.Order"
            ".test_fifty_pipelined_requests_are_answered_in_order_behind_a_slow_first",
            f"{_HTTP}.Order.test_after_a_bad_request_the_good_one_behind_it_is_not_handled",
            f"{_HTTP}.Order.test_a_bad_request_behind_a_good_one_waits_for_its_answer",
        ),
    ),
    Advisory(
        "the loop and the workers race for a socket",
        "waitress CVE-2022-31015, CVE-2024-49769",
        "only the reactor thread touches sockets and selector; a result for a connection that has "
        "gone is dropped",
        (
            f"{_FAULTS}.Storms.test_clients_that_reset_at_any_moment_leave_nothing_behind",
            f"{_CONNECTIONS}.Accepting.test_a_peer_that_was_gone_before_accept_is_dropped",
            "reactor.test_loop.Threads.test_with_debug_another_thread_is_caught",
            f"{_NEIGHBOURS}.test_five_hundred_resets_in_all_states",
        ),
    ),
    Advisory(
        "response splitting: a line end in a header, a reason, a cookie",
        "gunicorn CVE-2018-1000164; uvicorn CVE-2020-7695; Tornado CVE-2025-67724; CPython "
        "CVE-2026-0865, CVE-2026-0672",
        "one function writes every field, and refuses CR, LF and NUL: 500, nothing is sent. "
        "Cookies are written by our own code",
        (
            "end_to_end.test_responses.ServerFieldTests.test_no_line_end_gets_into_a_head",
            "app.test_cookies.FormatCookieTests.test_no_attribute_lets_another_one_in",
            "extras.test_files.FileResponses.test_a_content_type_cannot_smuggle_lines_into_a_part",
        ),
    ),
    Advisory(
        "log injection, logs that fill the disk",
        "uvicorn CVE-2020-7694; http.server gh-100001; aiohttp CVE-2025-69230; Tornado "
        "CVE-2025-47287; python-multipart CVE-2024-53981",
        "controls are escaped in everything that came from the network; bad requests are worth a "
        "line for debugging only",
        (
            "test_log.EscapeTests",
            "end_to_end.test_context.TestLoggerOverTheWire.test_what_the_framework_logs_of_a_path",
            f"{_LIMITS}.LogLines",
        ),
    ),
    Advisory(
        "form bombs: parts, fields, headers, boundaries",
        "Starlette CVE-2023-30798, CVE-2024-47874; Werkzeug CVE-2023-25577, -46136, "
        "CVE-2024-49767; aiohttp CVE-2024-30251; python-multipart CVE-2024-24762; Go "
        "CVE-2022-41725",
        "forms are read on the handler's thread, in linear time, with a limit for each of these",
        (
            "app.test_multipart.LimitTests",
            "app.test_forms.UrlencodedTests"
            ".test_a_million_separators_are_refused_before_they_are_split",
        ),
    ),
    Advisory(
        "quadratic or backtracking parsing of a header",
        "waitress CVE-2020-5236; Tornado CVE-2024-52804, CVE-2025-67725; CPython CVE-2024-7592; "
        "Starlette CVE-2025-62727",
        "no pattern repeats a repetition; hostile values are read in linear time; ranges are few",
        (
            "app.test_cookies.ParseCookiesTests"
            ".test_hostile_headers_cost_in_proportion_to_their_size",
            "app.test_ranges.Ranges.test_a_hostile_field_is_read_in_linear_time",
            "app.test_conditions.Tags.test_a_hostile_list_is_read_in_linear_time",
            "extras.test_proxy.Forwarded.test_a_hostile_field_is_read_in_linear_time",
            "protocol.test_scanners.Tables.test_no_pattern_repeats_a_group_without_a_bound",
        ),
    ),
    Advisory(
        "buffers without a bound",
        "Envoy CVE-2020-8659, -8661; Go CVE-2023-39326; Node CVE-2024-22019; Twisted "
        "CVE-2022-21716; asyncio CVE-2024-12254; CPython CVE-2025-13836",
        "what is buffered is counted, framing included; nothing is allocated because a length "
        "says so; nobody is read from faster than it is answered",
        (
            f"{_LIMITS}.ChunkFraming",
            f"{_LIMITS}.BufferedBodies",
            f"{_HTTP}.Order.test_later_requests_stay_with_the_peer_while_a_handler_works",
            f"{_HTTP}.Order.test_nothing_new_is_answered_while_the_peer_does_not_read",
            "protocol.test_framing.Limits"
            ".test_a_framer_that_lost_its_stream_stays_dead_and_keeps_nothing",
            "reactor.test_slow_readers.TinyPieces",
        ),
    ),
    Advisory(
        "decompression bombs",
        "aiohttp CVE-2025-69223; websockets CVE-2018-1000518; eventlet CVE-2021-21419",
        "request bodies are never decompressed",
        (f"{_LIMITS}.Bodies.test_a_compressed_body_is_handed_over_as_it_is",),
    ),
    Advisory(
        "files outside of the directory",
        "aiohttp CVE-2024-23334; Starlette CVE-2023-29159; Werkzeug CVE-2024-49766, "
        "CVE-2025-66221; Pyramid CVE-2023-40587; http.server CVE-2021-28861",
        "paths are decoded once; what is no plain name is a 404; the real path must lie under the "
        "real directory; a redirect never begins with two slashes",
        ("extras.test_static.StaticPaths",),
    ),
    Advisory(
        "faults in the paths of faults",
        "bottle CVE-2022-31799; Twisted CVE-2024-41810; aiohttp CVE-2025-69227",
        "errors are JSON, or escaped; nothing is checked by an assert that -O takes away; a "
        "generator is closed when its client leaves",
        (
            "test_limits.Optimized",
            "end_to_end.test_features.DebugPageTests.test_what_came_from_the_client_is_escaped",
            "channels.test_http_stream.Streams.test_a_reader_that_leaves_closes_the_generator_once",
        ),
    ),
    Advisory(
        "JSON that hurts its reader",
        "CPython CVE-2020-10735 (long numbers); deep nesting; NaN; half surrogate pairs",
        "each is a 400, or the error bad_message; half a pair is read as U+FFFD",
        (
            "test_jsontext",
            "protocol.test_message.ReadingJson"
            ".test_a_number_of_too_many_digits_is_refused_not_computed",
            "protocol.test_message.Answers.test_nesting_that_python_cannot_follow_is_written",
        ),
    ),
    Advisory(
        "XML that hurts its reader",
        "CVE-2013-0340 (billion laughs), CVE-2023-52425, CVE-2024-8176, CVE-2025-59375",
        "a DOCTYPE is refused before a tree is built; size, depth and attributes are limited",
        (
            "protocol.test_message.ReadingXml",
            "protocol.test_framing.Limits.test_a_refused_doctype_is_told_so",
        ),
    ),
    Advisory(
        "a self-pipe that others can enter",
        "CPython CVE-2024-3219 (Windows)",
        "it is looked at who is at the other end",
        ("reactor.test_waker.WakerTest.test_a_pair_that_somebody_else_has_got_into_is_refused",),
    ),
    Advisory(
        "time that is set",
        "gunicorn before 21.2.0: a step of the wall clock killed workers",
        "the wall clock is for what people read: log lines, dates, ages of cookies",
        ("test_limits.WallClock",),
    ),
)
