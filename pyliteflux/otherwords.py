"""What things are called elsewhere, and what they are called here.

The rule: a word that Flask, FastAPI, Express or aiohttp has taught somebody is answered with ours,
where it is used; a word that nobody could have meant gets no suggestion. All words stand in this
one table.

Chapter: docs/requests-and-responses.md.
"""

from __future__ import annotations

from collections.abc import Mapping

# Of `Server(...)` and its config.
SETTINGS = {
    "port": "http_port",
    "host": "http_host",
    "bind": "http_host",
    "address": "http_host",
    "timeout": "handler_timeout",
    "request_timeout": "handler_timeout",
    "workers": "worker_threads, or several processes with reuse_port=True",
    "processes": "several processes with reuse_port=True",
    "threads": "worker_threads",
    "threaded": "worker_threads",
    "max_content_length": "max_body_size",
    "max_workers": "worker_threads",
    "limit_concurrency": "max_connections",
    "timeout_keep_alive": "keep_alive_timeout",
    "keepalive_timeout": "keep_alive_timeout",
    "timeout_graceful_shutdown": "shutdown_timeout",
    "graceful_timeout": "shutdown_timeout",
    "log_level": "info=False for silence, or Python's logging",
    "secret": "secret_key",
}

# Of `Route.register` and its like.
REGISTRATION = {
    "methods": "method=[...], or get, post, put ...",
    "endpoint": "name=...",
    "response_model": "what the handler returns is the answer",
    "status_code": "return body, status",
    "dependencies": "a Middleware",
}

# Of a `Server`, a `Router`, and `Route`.
SERVER = {
    "route": "get, post, put, delete, patch, head, options, or Route.register",
    "add_url_rule": "router.register(path, method)(function)",
    "add_route": "router.register(path, method)(function)",
    "add_routes": "router.register(path, method)(function)",
    "add_api_route": "router.register(path, method)(function)",
    "api_route": "router.register(path, [methods])",
    "add_get": "router.get(path)(function)",
    "add_post": "router.post(path)(function)",
    "all": "router.register(path, [methods])",
    "use": "add_middleware",
    "middleware": "add_middleware",
    "before_request": "add_middleware, with process_request",
    "after_request": "add_middleware, with process_response",
    "teardown_request": "add_middleware, with on_finish",
    "errorhandler": "error",
    "exception_handler": "error",
    "add_exception_handler": "error",
    "register_blueprint": "include",
    "include_router": "include",
    "mount": "include, or static for files",
    "add_static": "static",
    "listen": "run, with http_port and tcp_port",
    "serve": "run",
    "serve_forever": "run",
    "run_app": "run",
    "close": "stop",
    "shutdown": "stop",
    "test_client": "start(), and any client at http_address",
    "logger": "Logger",
    "broadcast": "push_message or publish",
    "emit": "push_message or publish",
}

# Of a request.
REQUEST = {
    "args": "query_params",
    "query": "query_params",
    "GET": "query_params",
    "form": "form_data",
    "POST": "form_data",
    "post": "form_data",
    "values": "query_params and form_data",
    "FILES": "files",
    "json": "json_data",
    "get_json": "json_data",
    "data": "body, or text",
    "get_data": "body, or text",
    "read": "body, or text",
    "params": "path_params for the path, query_params for the query",
    "view_args": "path_params",
    "match_info": "path_params",
    "COOKIES": "cookies",
    "META": "headers and client_address",
    "header": "headers",
    "get": 'headers.get("Name") or query_params.get("name")',
    "remote_addr": "client_address[0]",
    "remote": "client_address[0]",
    "ip": "client_address[0]",
    "client": "client_address, or client_id",
    "user_agent": 'headers.get("User-Agent")',
    "mimetype": "content_type",
    "full_path": "target",
    "rel_url": "target",
    "base_url": "url",
    "query_arguments": "query_params",
    "get_argument": 'query_params.get("name") or form_data.get("name")',
}


def missing(owner: object, name: str, words: dict[str, str]) -> AttributeError:
    """Return the error for an attribute that an object does not have, with our word for it."""
    kind = owner.__name__ if isinstance(owner, type) else type(owner).__name__
    ours = words.get(name)
    hint = "" if ours is None else f". {name!r}: {ours} here"
    return AttributeError(f"{kind!r} object has no attribute {name!r}{hint}", name=name, obj=owner)


def check_registration(unknown: Mapping[str, object]) -> None:
    """Raise TypeError for named arguments that a registration does not take."""
    for name in unknown:
        ours = REGISTRATION.get(name)
        hint = "" if ours is None else f": {ours} here"
        raise TypeError(f"a registration takes no {name!r}{hint}")
