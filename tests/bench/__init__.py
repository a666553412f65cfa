"""`make bench`: PyLiteFlux and its peers, measured in turns. Read tests/bench/README.md first."""
