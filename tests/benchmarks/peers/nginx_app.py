"""nginx (C), one worker: what it costs to send a file when nothing but that has to be done."""

import os
import tempfile

from . import FILE, announce, free_port, program

CONFIG = """\
{user}
daemon off;
worker_processes 1;
pid {folder}/pid;
error_log stderr crit;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000000;
    client_body_temp_path {folder};
    proxy_temp_path {folder};
    fastcgi_temp_path {folder};
    uwsgi_temp_path {folder};
    scgi_temp_path {folder};
    server {{
        listen 127.0.0.1:{port};
        location = /file {{ alias {file}; }}
    }}
}}
"""

if __name__ == "__main__":
    nginx = program("nginx")
    folder = tempfile.mkdtemp(prefix="nginx-", dir=os.path.dirname(FILE))
    port = free_port()
    # Started by root, its worker would become "nobody", who may not read the file.
    user = "user root;" if hasattr(os, "geteuid") and os.geteuid() == 0 else ""
    path = os.path.join(folder, "nginx.conf")
    with open(path, "w") as config:
        config.write(CONFIG.format(user=user, folder=folder, port=port, file=FILE))
    announce(port)
    os.execv(nginx, [nginx, "-p", folder, "-c", path, "-e", "stderr"])
