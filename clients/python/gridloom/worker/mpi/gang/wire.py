"""What both ends of the agents' calls agree on."""

from __future__ import annotations

SERVICE = "gridloom.api.mpi.v1.RankAgentService"
ATTEND = f"/{SERVICE}/Attend"
LAUNCH = f"/{SERVICE}/Launch"
PIECE_BYTES = 1 << 20

# A host that is gone without a word is missed after the sum of the two.
_PING_EVERY_MS = 5_000
_PONG_WITHIN_MS = 10_000

_BOTH = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.keepalive_time_ms", _PING_EVERY_MS),
    ("grpc.keepalive_timeout_ms", _PONG_WITHIN_MS),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
)
CALLER_OPTIONS = (*_BOTH, ("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1))
SERVER_OPTIONS = (
    *_BOTH,
    ("grpc.so_reuseport", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", _PING_EVERY_MS // 2),
    ("grpc.http2.max_ping_strikes", 0),
)


def target(address: str, port: int) -> str:
    """An address as gRPC wants it, without any names to be looked up."""
    return f"ipv6:[{address}]:{port}" if ":" in address else f"ipv4:{address}:{port}"


def address_of_peer(peer: str) -> str:
    """The address in what gRPC calls a peer: "ipv4:10.0.0.1:4711", "ipv6:%5B::1%5D:4711"."""
    from urllib.parse import unquote

    address = unquote(peer).partition(":")[2].rpartition(":")[0].strip("[]")
    return address.removeprefix("::ffff:")
