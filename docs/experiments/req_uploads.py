"""A form with a file, its limits, and an upload that is read while it arrives."""

import hashlib
import secrets
import tempfile
from pathlib import Path

from _req_client import ask

from pyliteflux import HTTPError, Router, Server

router = Router()
folder = Path(tempfile.mkdtemp())
ALLOWED = {"image/png": ".png", "image/jpeg": ".jpg"}


@router.register("/photos", method="POST", max_body=100_000)
def add_photo(request):
    photo = request.files.get("photo")
    if photo is None or photo.content_type not in ALLOWED:
        raise HTTPError(400, f"a field photo is needed, one of {', '.join(ALLOWED)}")
    # Never under photo.filename: it is the client's word, and may be the name of a file of ours.
    photo.save(folder / (secrets.token_hex(8) + ALLOWED[photo.content_type]))
    return {
        "title": request.form_data.get("title", ""),
        "called": photo.filename,
        "size": photo.size,
    }, 201


@router.register("/backups/{name}", method="PUT", stream=True)
def add_backup(request):
    digest = hashlib.sha256()
    size = 0
    for piece in request.stream:
        size += len(piece)
        if size > 50_000_000:
            raise HTTPError(413, "a backup may have 50 MB")
        digest.update(piece)
    return {"size": size, "sha256": digest.hexdigest()[:16]}


def form(*parts):
    body = b""
    for fields, content in parts:
        body += (
            b"--xyz\r\nContent-Disposition: form-data; " + fields + b"\r\n\r\n" + content + b"\r\n"
        )
    return body + b"--xyz--\r\n"


FORM = {"Content-Type": "multipart/form-data; boundary=xyz"}
TITLE = (b'name="title"', "蓝天".encode())
PHOTO = b'name="photo"; filename="../../etc/cat.png"\r\nContent-Type: image/png'

with Server(router, http_port=0, tcp_port=0, info=False, max_form_parts=2) as server:
    ask(server, "POST", "/photos", form(TITLE, (PHOTO, b"\x89PNG" + bytes(1000))), FORM)
    ask(server, "POST", "/photos", form(TITLE), FORM)
    ask(server, "POST", "/photos", form(TITLE, TITLE, TITLE), FORM)
    ask(server, "POST", "/photos", form((PHOTO, bytes(200_000))), FORM)
    ask(server, "PUT", "/backups/monday", bytes(20_000_000))

for path in folder.iterdir():
    path.unlink()
folder.rmdir()
