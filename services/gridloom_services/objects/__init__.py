"""Payloads, results and files by the digest of their content."""
