"""The server in a simulated world, by the thousand: a seed decides all that chance decides.

``python -m tests.simulation --seed N`` runs one world. Chapter: docs/simulation.md.
"""
