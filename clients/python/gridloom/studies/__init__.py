"""Scaling studies: the same work at several widths, and what speedup and efficiency come to."""
