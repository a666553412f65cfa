"""Room 1: descriptors, time and threads. It knows no protocol; any could live on top of it.

Chapter: docs/architecture.md.
"""
