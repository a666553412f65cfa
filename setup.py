from setuptools import setup

setup()  # Everything is in setup.cfg.
