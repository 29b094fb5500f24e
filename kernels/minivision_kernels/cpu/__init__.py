"""Rungs for the CPU, compiled by Numba. ``compile.py`` is how; the other files are what."""
