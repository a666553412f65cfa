"""Wrong answers: the check at which each must fail first, and how it differs from the answer."""

LOOP = """    while True:
        data = client.recv(65536)
        if not data:
            return  # FIN: nothing more will come.
        client.sendall(data)
"""

WRONG = {
    "waits_for_the_end": (
        "byte",
        (
            LOOP,
            "    data = b''.join(iter(lambda: client.recv(65536), b''))\n    client.sendall(data)\n",
        ),
    ),
    "as_text": (
        "bytes",
        ("client.sendall(data)", "client.sendall(data.decode(errors='ignore').encode())"),
    ),
    "strips": ("talk", ("client.sendall(data)", "client.sendall(data.strip(b'\\t\\n '))")),
    "one_recv": ("talk", (LOOP, "    client.sendall(client.recv(65536))\n")),
    "ends_at_bye": (
        "talk",
        (
            "        client.sendall(data)",
            "        client.sendall(data)\n        if data == b'\\n':\n            return",
        ),
    ),
    "impatient": (
        "pause",
        (
            "    while True:\n        data",
            "    client.settimeout(1)\n    while True:\n        data",
        ),
    ),
    "short_is_the_end": (
        "talk",
        (
            "        client.sendall(data)",
            "        client.sendall(data)\n        if len(data) < 1024:\n            return",
        ),
    ),
    "full_is_too_much": ("sizes", ("if not data:", "if not data or len(data) == 4096:")),
    "sends_a_part": (
        "megabyte",
        (
            "        client.sendall(data)",
            "        client.setblocking(False)\n        client.send(data)\n        client.setblocking(True)",
        ),
    ),
    "half_open": (
        "end",
        (
            "        with client:  # Closed at the end of this block, whatever happens.",
            "        kept.append(client)\n        if True:",
        ),
        ("    while True:\n        client, _", "    kept = []\n    while True:\n        client, _"),
    ),
    "spins_at_the_end": (
        "end",
        ("            return  # FIN: nothing more will come.", "            continue"),
    ),
    "one_client": (
        "next",
        ("    while True:\n        client, _", "    for _ in range(5):\n        client, _"),
    ),
    "crashes_on_nothing": (
        "silent",
        (
            "    while True:\n        data",
            "    first = client.recv(65536)\n    client.sendall(first[0:0] + bytes([first[0]]) + first[1:])\n    while True:\n        data",
        ),
    ),
    "dies_of_a_reset": ("reset", ("except OSError:", "except ZeroDivisionError:")),
    "asks_all_the_time": (
        "rests",
        (
            "    while True:\n        client, _ = listener.accept()\n",
            "    listener.setblocking(False)\n    while True:\n        try:\n            client, _ = listener.accept()\n        except BlockingIOError:\n            continue\n        client.setblocking(True)\n",
        ),
    ),
}
