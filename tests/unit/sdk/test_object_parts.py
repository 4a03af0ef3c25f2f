"""Parts of objects on the wire: what protobuf's own classes write and read, byte for byte."""

from __future__ import annotations

from gridloom.api.objects.v1 import objects_pb2 as pb
from gridloom.object_parts import GotPart, read_got, read_put, write_got, write_put
from hypothesis import given
from hypothesis import strategies as st

CHUNKS = st.binary(max_size=300) | st.integers(120, 20_000).map(bytes)
REFS = st.builds(
    pb.ObjectRef, digest=st.text(max_size=80), size_bytes=st.integers(0, (1 << 63) - 1)
)


@given(CHUNKS)
def test_a_chunk_is_written_and_read_as_protobuf_does_it(chunk: bytes):
    message = pb.PutObjectRequest(chunk=chunk).SerializeToString()
    assert write_put(memoryview(chunk)) == write_put(chunk) == message
    found = read_put(message)
    assert isinstance(found, memoryview)
    assert found == chunk


@given(REFS, st.text(max_size=20))
def test_what_is_no_chunk_stays_a_message(ref: pb.ObjectRef, text: str):
    header = pb.PutObjectRequest(header=pb.PutObjectRequest.Header(object=ref, holder=text))
    last = pb.PutObjectRequest(digest=text)
    for part in (header, last, pb.PutObjectRequest()):
        assert read_put(write_put(part)) == part


@given(CHUNKS, st.none() | REFS)
def test_an_answer_is_written_and_read_as_protobuf_does_it(chunk: bytes, ref: pb.ObjectRef | None):
    message = pb.GetObjectResponse(object=ref, chunk=chunk)
    assert pb.GetObjectResponse.FromString(write_got(GotPart(chunk, ref))) == message
    assert read_got(message.SerializeToString()) == GotPart(chunk, ref)


@given(CHUNKS, REFS)
def test_fields_of_a_later_version_are_read_past(chunk: bytes, ref: pb.ObjectRef):
    later = b"\xfa\x06\x03new"
    put = pb.PutObjectRequest(chunk=chunk).SerializeToString()
    found = read_put(put + later)
    assert (found.chunk if isinstance(found, pb.PutObjectRequest) else found) == chunk
    got = pb.GetObjectResponse(object=ref, chunk=chunk).SerializeToString()
    assert read_got(got + later) == read_got(later + got) == GotPart(chunk, ref)
