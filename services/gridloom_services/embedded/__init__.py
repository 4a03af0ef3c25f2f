"""The whole platform in one process on one port, for a laptop or one server."""
