"""Files out and files in: a directory, a download that can be taken up again, two uploads.

Chapter: docs/files.md. Run it with `make run-example EXAMPLE=files` and open the address.
"""

import atexit
import gzip
import hashlib
import sys
import tempfile
from pathlib import Path

from pyliteflux import FileResponse, HTTPError, Router, Server

TRY = """\
open http://{0}/site/ in a browser, or:
    curl -i http://{0}/site/
    curl -I --compressed http://{0}/site/style.css
    curl -i --path-as-is http://{0}/site/../secret.txt
    curl -i -r 0-99 http://{0}/download
    curl -O -J http://{0}/download       (break it off with Ctrl-C, and go on:)
    curl -C - -o numbers.txt http://{0}/download
    curl -F note=hello -F file=@numbers.txt http://{0}/upload
    curl -T numbers.txt http://{0}/count
    head -c 2G /dev/zero | curl -T - http://{0}/count
"""

INDEX = """\
<!doctype html>
<title>Files</title>
<link rel="stylesheet" href="style.css">
<p><a href="/download">numbers.txt</a></p>
<form method="post" action="/upload" enctype="multipart/form-data">
<input name="note" placeholder="a note"> <input type="file" name="file"> <button>Send</button>
</form>
"""
STYLE = "body { font-family: sans-serif; max-width: 40em; margin: 3em auto; }\n" * 20

# Made here so that the example is one file; yours is a directory of your project.
_folder = tempfile.TemporaryDirectory(prefix="pyliteflux-files-")
atexit.register(_folder.cleanup)
folder = Path(_folder.name)
site = folder / "site"
site.mkdir()
(site / "index.html").write_text(INDEX)
(site / "style.css").write_text(STYLE)
(site / "style.css.gz").write_bytes(gzip.compress(STYLE.encode()))  # Once, and not per request.
(folder / "secret.txt").write_text("not below site/: nobody gets it\n")
(folder / "numbers.txt").write_text("".join(f"{n:09}\n" for n in range(500_000)))

router = Router()
server = Server(router)
server.static("/site", site, max_age=60)


@router.get("/download")
def download(request):
    """Ranges, ETag and "not modified" are FileResponse's business."""
    return FileResponse(folder / "numbers.txt", filename="numbers.txt")


@router.post("/upload", max_body=50 << 20)
def upload(request):
    """A form: fields in memory, large files on disk until the request is over."""
    file = request.files.get("file")
    if file is None:
        raise HTTPError(400, "there is no file in this form")
    digest = hashlib.sha256()
    while piece := file.read(64 * 1024):  # By size: a line may be as long as the file.
        digest.update(piece)
    # Never file.filename as a path: it is the client's word. `file.save(path)` would keep it.
    return {
        "note": request.form_data.get("note", ""),
        "filename": file.filename,
        "size": file.size,
        "sha256": digest.hexdigest(),
    }


@router.register("/count", method=["PUT", "POST"], stream=True)
def count(request):
    """In constant memory: the body is read while it arrives.

    Nothing bounds its size here but the handler; one that keeps what comes sets `max_body`.
    """
    size, pieces, digest = 0, 0, hashlib.sha256()
    for piece in request.stream:
        size += len(piece)
        pieces += 1
        digest.update(piece)
    return {"size": size, "pieces": pieces, "sha256": digest.hexdigest()}


if __name__ == "__main__":
    print(TRY.format(f"{server.config.http_host}:{server.config.http_port}"))
    sys.stdout.flush()
    server.run("http")
