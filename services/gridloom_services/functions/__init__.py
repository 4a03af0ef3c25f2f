"""The functions service: Python calls and maps on warm worker pools."""
