"""Which media type a file's name stands for: one table, the same on every machine.

The rule: nothing of it comes from the system. `mimetypes` reads the tables that a distribution
has installed, and Python's own differ between its versions: ``.ts`` was a translation of Qt's on
Debian, and a page that worked on a laptop did not in the container.

Chapter: docs/files.md.
"""

from __future__ import annotations

import os

# What is unknown is bytes: a browser then saves it and guesses nothing.
UNKNOWN = "application/octet-stream"

# Registered with IANA where there is a registration; what browsers take where there is none.
MEDIA_TYPES = {
    # Pages and what belongs to them.
    ".css": "text/css",
    ".htm": "text/html",
    ".html": "text/html",
    ".ics": "text/calendar",
    ".js": "text/javascript",  # RFC 9239
    ".mjs": "text/javascript",
    ".vtt": "text/vtt",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
    ".xhtml": "application/xhtml+xml",
    # Text and data.
    ".cfg": "text/plain",
    ".conf": "text/plain",
    ".csv": "text/csv",
    ".geojson": "application/geo+json",
    ".ini": "text/plain",
    ".json": "application/json",
    ".jsonl": "application/jsonl",
    ".jsonld": "application/ld+json",
    ".log": "text/plain",
    ".map": "application/json",
    ".markdown": "text/markdown",
    ".md": "text/markdown",
    ".ndjson": "application/x-ndjson",
    ".parquet": "application/vnd.apache.parquet",
    ".py": "text/x-python",
    ".rst": "text/x-rst",
    ".sqlite": "application/vnd.sqlite3",
    ".toml": "application/toml",
    ".tsv": "text/tab-separated-values",
    ".txt": "text/plain",
    ".xml": "application/xml",
    ".yaml": "application/yaml",  # RFC 9512
    ".yml": "application/yaml",
    ".atom": "application/atom+xml",
    ".rss": "application/rss+xml",
    # Images.
    ".apng": "image/apng",
    ".avif": "image/avif",
    ".bmp": "image/bmp",
    ".gif": "image/gif",
    ".heic": "image/heic",
    ".heif": "image/heif",
    ".ico": "image/x-icon",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".jxl": "image/jxl",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".webp": "image/webp",
    # Sound and pictures that move. A .ts is a segment of a stream (HLS), as browsers ask for it.
    ".3gp": "video/3gpp",
    ".aac": "audio/aac",
    ".avi": "video/x-msvideo",
    ".flac": "audio/flac",
    ".m3u8": "application/vnd.apple.mpegurl",
    ".m4a": "audio/mp4",
    ".m4s": "video/iso.segment",
    ".m4v": "video/mp4",
    ".mid": "audio/midi",
    ".mkv": "video/matroska",
    ".mov": "video/quicktime",
    ".mp3": "audio/mpeg",
    ".mp4": "video/mp4",
    ".mpd": "application/dash+xml",
    ".mpeg": "video/mpeg",
    ".mpg": "video/mpeg",
    ".oga": "audio/ogg",
    ".ogg": "audio/ogg",
    ".ogv": "video/ogg",
    ".opus": "audio/ogg",
    ".ts": "video/mp2t",
    ".wav": "audio/wav",
    ".weba": "audio/webm",
    ".webm": "video/webm",
    # Fonts and models.
    ".glb": "model/gltf-binary",
    ".gltf": "model/gltf+json",
    ".otf": "font/otf",
    ".stl": "model/stl",
    ".ttc": "font/collection",
    ".ttf": "font/ttf",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
    # Documents.
    ".doc": "application/msword",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".epub": "application/epub+zip",
    ".odp": "application/vnd.oasis.opendocument.presentation",
    ".ods": "application/vnd.oasis.opendocument.spreadsheet",
    ".odt": "application/vnd.oasis.opendocument.text",
    ".pdf": "application/pdf",
    ".ppt": "application/vnd.ms-powerpoint",
    ".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ".ps": "application/postscript",
    ".rtf": "application/rtf",
    ".xls": "application/vnd.ms-excel",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    # Archives and programs. A page.html.gz is a gzip file, not a page.
    ".7z": "application/x-7z-compressed",
    ".apk": "application/vnd.android.package-archive",
    ".bz2": "application/x-bzip2",
    ".gz": "application/gzip",
    ".jar": "application/java-archive",
    ".rar": "application/vnd.rar",
    ".tar": "application/x-tar",
    ".tgz": "application/gzip",
    ".xz": "application/x-xz",
    ".zip": "application/zip",
    ".zst": "application/zstd",
}


def guess_type(path: str) -> str:
    """Return the media type that a file's name stands for; text is taken for UTF-8."""
    extension = os.path.splitext(os.path.basename(path))[1].lower()
    kind = MEDIA_TYPES.get(extension, UNKNOWN)
    return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind
