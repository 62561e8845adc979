"""Measurements, run by hand with ``make bench``: each prints a table and writes JSON."""
