"""Chunked transfer coding (RFC 9112 7.1), decoded as it comes, within bounds."""

import re
from enum import Enum

LINE_BOUND = 1 << 10  # bytes of one size line (extensions) or trailer field
TRAILER_BOUND = 64  # trailer fields
CHUNKS_BOUND = 4096  # chunks: 64 bytes each fill the body that is read; who sends less wastes CPU

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;.*)?", re.DOTALL)


class _Part(Enum):
    SIZE = "size"
    DATA = "data"
    END = "end of data"
    TRAILER = "trailer"
    DONE = "done"


class Chunks:
    """Feed it what came until `done`."""

    __slots__ = ("_at", "_chunks", "_held", "_left", "_part", "_trailers")

    def __init__(self) -> None:
        self._part = _Part.SIZE
        self._held = b""  # came, but not decoded: at most a line
        self._at = 0  # where in it decoding goes on
        self._left = 0  # bytes of the present chunk
        self._chunks = 0
        self._trailers = 0

    @property
    def done(self) -> bool:
        """The last chunk and its trailers were read."""
        return self._part is _Part.DONE

    def feed(self, data: bytes) -> bytearray:
        """The body bytes in what came; ValueError when the coding is broken."""
        body = bytearray()
        self._held = self._held[self._at :] + data
        self._at = 0
        while self._step(body):
            pass
        return body

    def _step(self, body: bytearray) -> bool:
        """Decode one part more; False: nothing more to decode yet."""
        if self._part is _Part.DONE:
            return False
        if self._part is _Part.DATA:
            return self._take_data(body)
        line = self._take_line()
        if line is None:
            return False
        self._take_part(line)
        return True

    def _take_data(self, body: bytearray) -> bool:
        taken = self._held[self._at : self._at + self._left]
        self._at += len(taken)
        self._left -= len(taken)
        body += taken
        if self._left:
            return False
        self._part = _Part.END
        return True

    def _take_line(self) -> bytes | None:
        end = self._held.find(b"\n", self._at, self._at + LINE_BOUND)
        if end < 0:
            if len(self._held) - self._at >= LINE_BOUND:
                raise ValueError(f"broken chunked body: a line over {LINE_BOUND} bytes")
            return None
        line = self._held[self._at : end].removesuffix(b"\r")
        self._at = end + 1
        return line

    def _take_part(self, line: bytes) -> None:
        if self._part is _Part.SIZE:
            self._take_size(line)
        elif self._part is _Part.END:
            if line:
                raise ValueError("broken chunked body: a chunk longer than its size")
            self._part = _Part.SIZE
        elif not line:
            self._part = _Part.DONE
        else:
            self._trailers += 1
            if self._trailers > TRAILER_BOUND:
                raise ValueError(f"broken chunked body: over {TRAILER_BOUND} trailer fields")

    def _take_size(self, line: bytes) -> None:
        size = _SIZE.fullmatch(line)
        if size is None:
            raise ValueError(f"broken chunked body: {ascii(line[:20])[1:]} is no size")
        self._chunks += 1
        if self._chunks > CHUNKS_BOUND:
            raise ValueError(f"chunked body in over {CHUNKS_BOUND} chunks")
        self._left = int(size[1], 16)
        self._part = _Part.DATA if self._left else _Part.TRAILER
