"""`make bench`: PyLiteFlux and its peers, measured in turns. See tests/benchmarks/README.md."""
