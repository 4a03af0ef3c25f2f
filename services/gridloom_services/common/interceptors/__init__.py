"""What cuts across all calls, one file each. The order is that of `chain.py`, outermost first."""
