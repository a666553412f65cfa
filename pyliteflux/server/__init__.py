"""One run of a server: ports, connections, pools, the stop. It knows all rooms and joins them.

Chapter: docs/architecture.md.
"""
