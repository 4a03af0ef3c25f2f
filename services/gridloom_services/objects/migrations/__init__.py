"""The way from older tables to those of `catalogue.py`."""
