"""The connections of workers and pool hosts: one interface, two transports.

`link.py` has the connection as the rest of the service sees it, and who may connect; `sockets.py`
the unix socket with length-prefixed frames; `streams.py` the gRPC stream `ServeCalls`. Both give
frames to one `Reception`.
"""
