"""Wrong answers: the check at which each must fail first, and how it differs from the answer."""

WRONG = {
    "forgets_to_say_where": ("listens", ("print(", "str(")),
    "says_the_port_it_was_told": ("listens", ("*listener.getsockname()", '"127.0.0.1", port')),
    "another_word": ("says", ('b"hello\\n"', 'b"Hello\\n"')),
    "keeps_it_open": (
        "closes",
        ("    while True:", "    kept = []\n    while True:"),
        ("        with client:", "        kept.append(client)\n        if True:"),
    ),
    "greets_four": (
        "again",
        ("    while True:", "    for number in range(99):"),
        ("            serve(client)", "            number < 4 and serve(client)"),
    ),
}
