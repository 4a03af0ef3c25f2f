"""Profiles of calls and ranks: `profile=True` makes them, `.profile()` brings them."""
