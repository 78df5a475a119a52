"""The one compressor of layers: libdeflate, from a wheel that carries it, at an exact version.

Python's own zlib is whatever the interpreter was built with, and different libraries write different bytes for the same
input; zlib-ng and ISA-L even by processor. libdeflate's output depends on its version and level alone.
"""

import zlib
from collections.abc import Iterable, Iterator

import deflate

LEVEL = 6
_GZIP_WINDOW = 31
_CHUNK = 1 << 20


def compress(data: bytes) -> bytes:
    """`data` as gzip, without a name or a time in it."""
    return bytes(deflate.gzip_compress(data, LEVEL))


def decompressed(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """What gzip's chunks hold, bit by bit.

    Raises:
        zlib.error: It is not gzip.
        EOFError: It ends too early.
    """
    inflate = zlib.decompressobj(_GZIP_WINDOW)
    for chunk in chunks:
        rest = chunk
        while rest:
            if inflate.eof:
                inflate = zlib.decompressobj(_GZIP_WINDOW)
            yield inflate.decompress(rest, _CHUNK)
            rest = inflate.unconsumed_tail or inflate.unused_data
    if not inflate.eof:
        raise EOFError("the compressed data ends too early")
    yield inflate.flush()
