"""Revisions of the tables, in one line."""
