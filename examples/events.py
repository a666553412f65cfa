"""Server-sent events: news for everybody who watches, and for who was away for a moment.

Chapter: docs/streams.md. Run it with `make run-example EXAMPLE=events` and open the address.
"""

import sys
import threading
from collections import deque

from pyliteflux import EventStream, HTMLResponse, HTTPError, Router, Server

TRY = """\
open http://{0}/ in two windows, or:
    curl -N http://{0}/news
    curl -X POST -d 'text=hello' http://{0}/news
    curl -N -H 'Last-Event-ID: 0' http://{0}/news
    curl -N http://{0}/countdown
"""

PAGE = """\
<!doctype html>
<title>News</title>
<form><input name="text" autofocus autocomplete="off"><button>Tell everybody</button></form>
<ul></ul>
<script>
const list = document.querySelector("ul"), form = document.forms[0];
const source = new EventSource("/news");  // It reconnects by itself, and says what it saw last.
const note = text => {
    const item = document.createElement("li");
    item.textContent = text;  // Never innerHTML: it is somebody else's text.
    list.prepend(item);
};
source.addEventListener("news", event => note(event.lastEventId + ": " + event.data));
source.onerror = () => note("disconnected, trying again");
form.onsubmit = event => {
    event.preventDefault();
    fetch("/news", {method: "POST", body: new URLSearchParams(new FormData(form))});
    form.reset();
};
</script>
"""


class News:
    """What has been said lately, and who listens. Any thread.

    One lock guards both: between "what it missed" and "what comes next" nothing may be lost.
    `send` never blocks, so it may be called while the lock is held.
    """

    def __init__(self, kept=100):
        self._lock = threading.Lock()
        self._history = deque(maxlen=kept)
        self._streams = set()
        self._last = 0

    def watch(self, seen):
        """Return a stream of what comes after the event of this id; None: from now on."""
        stream = EventStream(retry=2000, on_close=lambda: self._forget(stream))
        with self._lock:
            for number, text in self._history:
                if seen is not None and number > seen:
                    stream.send(text, event="news", id=number)
            self._streams.add(stream)
        return stream

    def tell(self, text):
        """Send to all; return how many that are."""
        with self._lock:
            self._last += 1
            self._history.append((self._last, text))
            return sum(stream.send(text, event="news", id=self._last) for stream in self._streams)

    def _forget(self, stream):
        with self._lock:
            self._streams.discard(stream)


router = Router()
server = Server(router)
news = News()


@router.get("/")
def page(request):
    return HTMLResponse(PAGE)


@router.get("/news")
def watch(request):
    seen = request.headers.get("Last-Event-ID")
    if seen is not None and not (seen.isascii() and seen.isdigit() and len(seen) < 19):
        raise HTTPError(400, "Last-Event-ID is none of ours")
    return news.watch(None if seen is None else int(seen))


@router.post("/news")
def tell(request):
    text = request.form_data.get("text", "").strip()
    if not text:
        raise HTTPError(400, "there is no text")
    return {"reached": news.tell(text[:1000])}


@router.get("/countdown")
def countdown(request):
    """Pulled, not pushed: all of it is there already, so nobody has to wait for it."""
    return EventStream(
        {"data": number, "event": "count", "id": 3 - number} for number in range(3, -1, -1)
    )


if __name__ == "__main__":
    print(TRY.format(f"{server.config.http_host}:{server.config.http_port}"))
    sys.stdout.flush()
    server.run("http")
