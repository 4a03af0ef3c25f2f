"""How Python values travel: the envelopes of `call.proto`, made and opened.

A value is pickled by plain pickle where that is right, by cloudpickle where it is not (lambdas,
local functions, whatever lives in `__main__`). Small values stay in one piece; of large ones the
buffers (arrays) and, if need be, the pickle itself lie elsewhere (`large`) and the envelope says
where. An object that stands for another call's result is left out and counted: the worker
puts the result in its place.
"""

from __future__ import annotations

import io
import pickle
import threading
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from gridloom.errors import InternalError, PayloadTooLargeError, UnpicklableError
from gridloom.lazy import LazyModule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from gridloom import large
    from gridloom.api.functions.v1.worker_pb2 import UnitInput
    from gridloom.items import Items
    from gridloom.segments import Place
else:
    large = LazyModule("gridloom.large")

PROTOCOL = 5
INLINE = b"\x01"
LARGE = b"\x02"

# What objects are told of segments of shared memory: this and the name.
SHARED = "shm:"

# Smaller buffers are not worth a transfer of their own.
OUT_OF_BAND_BYTES = 256 * 1024
# Until the service has said otherwise.
DEFAULT_INLINE_LIMIT_BYTES = 1024 * 1024
DEFAULT_PAYLOAD_LIMIT_BYTES = 4 * 1024**3
# A slice of this many bytes is cheaper than a view of it.
_SLICED_BYTES = 4096

_DEPENDENCY = "dep"

# A class or function of `__main__` is pickled by name, which means something else elsewhere. Text
# that says the same costs a slower pickle, nothing more.
_MAIN = b"__main__"


class Objects(Protocol):
    """Where large parts go: `gridloom.objects.ObjectsClient`, or a dictionary in a test."""

    def put_bytes(self, data: bytes | bytearray | memoryview) -> str:
        """Store the bytes and return their digest."""
        ...

    def get_bytes(self, digest: str) -> bytearray | memoryview:
        """The bytes with this digest, for the caller to keep and change."""
        ...

    def share(self, parts: Sequence[memoryview]) -> Sequence[Place] | None:
        """Put the bytes into shared memory; None: there is none here, or no room."""
        ...

    def shared(self, name: str) -> bytearray | memoryview:
        """A whole segment of shared memory, for the caller to keep and change.

        PayloadLostError where it is gone.
        """
        ...


class _Seen(threading.local):
    pending = False
    in_arguments = False


_seen = _Seen()


class Pending:
    """Base of objects that stand for another call's result.

    Among a call's arguments such an object becomes a dependency, unless its result is here already.
    Then, and pickled elsewhere, it is what its class's `__reduce__` makes of it.
    """

    __slots__ = ()

    @property
    def settled(self) -> bool:
        """Whether the result is here: it is what is to travel then."""
        return False

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Pickle by `__reduce__`, and leave a note for an encoder that may be at work."""
        _seen.pending = True
        return self.__reduce__()


def in_arguments() -> bool:
    """Whether this thread is pickling arguments that hold results: settled ones go by value."""
    return _seen.in_arguments


class Encoded(NamedTuple):
    """An envelope, the digests that it refers to, and the results that it waits for, in order."""

    data: bytes
    objects: tuple[str, ...] = ()
    dependencies: tuple[Pending, ...] = ()


class Pickled(NamedTuple):
    """A pickle whose large buffers stand beside it."""

    body: bytes
    buffers: list[memoryview]
    dependencies: tuple[Pending, ...] = ()

    @property
    def size_bytes(self) -> int:
        """All of it together."""
        return len(self.body) + sum(part.nbytes for part in self.buffers)


# Half the price of calling a class that `NamedTuple` made.
_new = tuple.__new__


class PayloadCodec:
    """Makes and opens envelopes within a platform's limits.

    `inline_limit_bytes` and `payload_limit_bytes` may be set again when the service names its own.
    Safe to use from several threads.
    """

    def __init__(
        self,
        objects: Objects | None = None,
        *,
        inline_limit_bytes: int = DEFAULT_INLINE_LIMIT_BYTES,
        payload_limit_bytes: int = DEFAULT_PAYLOAD_LIMIT_BYTES,
    ) -> None:
        self._objects = objects
        self.inline_limit_bytes = inline_limit_bytes
        self.payload_limit_bytes = payload_limit_bytes

    def encode_arguments(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], *, durable: bool = True
    ) -> Encoded:
        """The envelope of a call's arguments; not `durable`: large ones may be in shared memory.

        Raises `UnpicklableError` that names the part ("args[0].lock") and `PayloadTooLargeError`.
        """
        small = self._small((args, kwargs))
        if small is not None:
            return small
        roots = partial(_argument_roots, args, kwargs)
        return self._encode((args, kwargs), "the arguments", roots, durable=durable)

    def _small(self, value: Any) -> Encoded | None:
        """The envelope of most values: plain, small, without anything that waits; else None."""
        buffers = _Buffers()
        try:
            body = pickle.dumps(value, PROTOCOL, buffer_callback=buffers.take)
        except Exception:  # noqa: BLE001  # the long way finds out what is wrong
            return None
        if buffers or _seen.pending or _MAIN in body or len(body) >= self.inline_limit_bytes:
            return None
        return Encoded(INLINE + body)

    def encode_chunk(self, items: Items, first: int = 0, *, durable: bool = True) -> Encoded:
        """The envelope of a chunk. `first` numbers the items."""
        roots = partial(_chunk_roots, items, first)
        return self._encode(items.packed(), "the arguments", roots, durable=durable)

    def encode_value(self, value: Any, *, durable: bool = True) -> Encoded:
        """The envelope of a result. An object that waits for a call travels as itself."""
        roots = partial(_result_roots, [value])
        return self._encode(value, "the result", roots, whole=True, durable=durable)

    def encode_values(self, values: list[Any], *, durable: bool = True) -> Encoded:
        """The envelope of the results of a run of a chunk's items."""
        roots = partial(_result_roots, values)
        return self._encode(values, "the results", roots, whole=True, durable=durable)

    def encode_function(self, function: Callable[..., Any], bundle: str = "") -> Encoded:
        """The envelope of a function: it may live anywhere, also in `__main__` or in no module.

        `bundle` is the digest of the user's own modules that go with it: other modules make another
        envelope, so that a changed module is a changed function.
        """
        return self._encode_by_value((function, bundle), [("function", function)])

    def encode_initializer(
        self, function: Callable[..., Any], args: tuple[Any, ...] = ()
    ) -> Encoded:
        """The envelope of what each worker runs once, before its first call."""
        return self._encode_by_value((function, args), [("initializer", function), ("args", args)])

    def decode(
        self, envelope: bytes | memoryview, resolve: Callable[[int], Any] | None = None
    ) -> Any:
        """The value in an envelope. `resolve(k)` gives the result of its k-th dependency."""
        kind = envelope[:1]
        if kind == INLINE:
            small = len(envelope) < _SLICED_BYTES
            body = envelope[1:] if small else memoryview(envelope)[1:]
            return pickle.loads(body) if resolve is None else _load(body, (), resolve)  # noqa: S301
        if kind == LARGE:
            return _load(*large.opened(envelope, self._objects), resolve)
        raise InternalError(f"an envelope begins with {bytes(kind)!r}, which nothing here can open")

    def decode_function(self, envelope: bytes) -> tuple[Callable[..., Any], str]:
        """What `encode_function` was given."""
        function, bundle = self.decode(envelope)
        return function, bundle

    def decode_input(self, given: UnitInput) -> Any:
        """A dependency's result: one value, or of a chunked call the list of all its values."""
        if not given.chunked:
            return self.decode(given.parts[0])
        return [value for part in given.parts for value in self.decode(part)]

    def _encode(
        self,
        value: Any,
        what: str,
        roots: Callable[[], Iterable[tuple[str, Any]]],
        *,
        whole: bool = False,
        durable: bool = True,
    ) -> Encoded:
        try:
            pickled = _pickle_plain(value, whole=whole) or _pickle_by_value(value, whole=whole)
        except Exception as error:  # a class's own `__reduce__` may raise anything
            raise _unpicklable(roots(), error) from error
        body, buffers, dependencies = pickled
        if not buffers and len(body) < self.inline_limit_bytes:
            return _new(Encoded, (INLINE + body, (), dependencies))
        return self._seal(pickled, what, durable=durable)

    def _encode_by_value(self, value: Any, roots: Iterable[tuple[str, Any]]) -> Encoded:
        try:
            pickled = _pickle_by_value(value, whole=True)
        except Exception as error:  # as above
            raise _unpicklable(roots, error) from error
        return self._seal(pickled, "the function")

    def _seal(self, pickled: Pickled, what: str, *, durable: bool = True) -> Encoded:
        body = pickled.body
        if not pickled.buffers and len(body) < self.inline_limit_bytes:
            return Encoded(INLINE + body, (), pickled.dependencies)
        size = pickled.size_bytes
        if size > self.payload_limit_bytes or (
            self._objects is None and size >= self.inline_limit_bytes
        ):
            limit = self.payload_limit_bytes if self._objects else self.inline_limit_bytes
            raise PayloadTooLargeError(
                f"{size:,} bytes are too many for {what}: the limit is {limit:,} bytes",
                size_bytes=size,
                limit_bytes=limit,
            )
        if size < self.inline_limit_bytes:
            return large.sealed_inside(pickled)
        assert self._objects is not None
        return large.sealed(pickled, self._objects, self.inline_limit_bytes, durable=durable)

    def pin(self, envelope: bytes) -> bytes:
        """The same envelope, which keeps what it refers to in shared memory until it is opened."""
        return large.pinned(envelope, self._objects)


# ---- pickling


class _Buffers(list[memoryview]):
    """Takes large buffers out of the pickle that is being made."""

    def take(self, buffer: pickle.PickleBuffer) -> bool:
        """Whether the buffer stays in the pickle."""
        try:
            view = buffer.raw()
        except BufferError:  # not contiguous: pickle copies it
            return True
        if view.nbytes < OUT_OF_BAND_BYTES:
            return True
        self.append(view)
        return False


class _Dependencies:
    """Gives each result that is waited for its number, by identity."""

    def __init__(self) -> None:
        self.found: dict[int, tuple[int, Pending]] = {}

    def persistent_id(self, value: Any) -> tuple[str, int] | None:
        """What stands in the pickle in the value's place, or None: the value itself."""
        if not isinstance(value, Pending) or value.settled:
            return None
        number, _ = self.found.setdefault(id(value), (len(self.found), value))
        return _DEPENDENCY, number

    @property
    def in_order(self) -> tuple[Pending, ...]:
        """The dependencies by number."""
        return tuple(value for _, value in self.found.values())


def _pickle_plain(value: Any, *, whole: bool) -> Pickled | None:
    """By pickle; None where only cloudpickle makes something that means the same elsewhere."""
    buffers = _Buffers()
    try:
        body = pickle.dumps(value, PROTOCOL, buffer_callback=buffers.take)
    except Exception:  # noqa: BLE001  # cloudpickle tries next, and reports
        return None
    if _seen.pending:
        _seen.pending = False
        if not whole:
            return _pickle_with_dependencies(value, pickle.Pickler)
    return None if _MAIN in body else _new(Pickled, (body, buffers, ()))


def _pickle_by_value(value: Any, *, whole: bool) -> Pickled:
    """By cloudpickle. Raises whatever the value's classes raise."""
    import cloudpickle

    if not whole:
        pickled = _pickle_with_dependencies(value, cloudpickle.Pickler)
        assert pickled is not None
        return pickled
    buffers = _Buffers()
    body = cloudpickle.dumps(value, PROTOCOL, buffer_callback=buffers.take)
    return Pickled(body, buffers)


def _pickle_with_dependencies(value: Any, pickler: type[pickle.Pickler]) -> Pickled | None:
    file, buffers, dependencies = io.BytesIO(), _Buffers(), _Dependencies()
    kind = type("Pickler", (pickler,), {"persistent_id": dependencies.persistent_id})
    _seen.in_arguments = True
    try:
        kind(file, PROTOCOL, buffer_callback=buffers.take).dump(value)
    finally:
        _seen.in_arguments = False
    body = file.getvalue()
    if pickler is pickle.Pickler and _MAIN in body:
        return None
    return Pickled(body, buffers, dependencies.in_order)


class _InputsUnpickler(pickle.Unpickler):
    """Puts results in the places of the calls that were waited for."""

    def __init__(
        self,
        body: bytes | bytearray | memoryview,
        buffers: Iterable[bytes | bytearray | memoryview],
        resolve: Callable[[int], Any],
    ) -> None:
        super().__init__(io.BytesIO(body), buffers=buffers)
        self._resolve = resolve

    def persistent_load(self, pid: Any) -> Any:
        """The result with this number."""
        kind, number = pid
        if kind != _DEPENDENCY:
            raise InternalError(f"a pickle refers to {pid!r}, which nothing here knows")
        return self._resolve(number)


def _load(
    body: bytes | bytearray | memoryview,
    buffers: Iterable[bytes | bytearray | memoryview],
    resolve: Callable[[int], Any] | None,
) -> Any:
    if resolve is None:
        return pickle.loads(body, buffers=buffers)  # noqa: S301  # users' own values
    return _InputsUnpickler(body, buffers, resolve).load()


# ---- what went wrong


def _argument_roots(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    yield from ((f"args[{n}]", value) for n, value in enumerate(args))
    yield from ((f"kwargs[{name!r}]", value) for name, value in kwargs.items())


def _chunk_roots(items: Items, first: int) -> Iterable[tuple[str, Any]]:
    for number, (args, kwargs) in enumerate(items.calls(), first):
        for path, value in _argument_roots(args, kwargs):
            yield f"item {number}: {path}", value


def _result_roots(values: list[Any]) -> Iterable[tuple[str, Any]]:
    if len(values) == 1:  # whose result it is says the call
        return [("result", values[0])]
    return ((f"result {number}", value) for number, value in enumerate(values))


def _unpicklable(roots: Iterable[tuple[str, Any]], error: Exception) -> UnpicklableError:
    from gridloom.unpicklable import unpicklable_part

    path, reason = unpicklable_part(roots) or ("", str(error) or type(error).__name__)
    return UnpicklableError(f"{path}: {reason}" if path else reason, path=path)
