"""The way from older tables to those of `tables.py`."""
