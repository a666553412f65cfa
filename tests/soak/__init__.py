"""Bad neighbours and long days: a server in one process, its clients in others, measured.

    python -m tests.soak faults            each fault in turn; how long another client waits
    python -m tests.soak --minutes 3       mixed load; memory, descriptors, threads: before, after

What is measured here is for people to read: a machine that is busy measures itself. What must
hold on any machine is asserted by tests/end_to_end/test_bad_neighbours.py, with the same faults.
"""
