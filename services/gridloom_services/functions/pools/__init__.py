"""Pools of workers: which there are, how many workers each should have, and the jobs behind them.

`spec.py` checks specifications and compiles a pool to a scheduler job (pure); `sizing.py` decides
how many workers a pool should have (pure); `jobs.py` is the door to the scheduler and its twin in
memory; `pools.py` keeps the pools of the service reconciled with what the dispatch needs.
"""
