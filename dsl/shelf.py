"""The groups of one keyed condition, kept in small pieces of text.

A subject may have a hundred thousand groups, and an event touches one or a few. So groups lie in pieces of some
sixteen, by a hash of their keys, and a piece is read when one of its groups is asked for. At most `LIVE` pieces are in
memory as objects; the others are text. To write all down, only pieces that have changed are written anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, TypeVar, cast
from zlib import crc32

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

SIZE: Final = 16
"""Groups in a piece, on average at most."""
LIVE: Final = 64
"""Pieces in memory as objects, at most."""


class Codec(Generic[T]):
    """How a piece is written and read."""

    def __init__(self, write: Callable[[dict[str, T]], bytes], read: Callable[[str], dict[str, T]]) -> None:
        self.write = write
        self.read = read


class Shelf(Generic[T]):
    """A mapping from keys to groups. Who changes a group puts it back."""

    __slots__ = ("_changed", "_codec", "_live", "_pieces", "_size")

    def __init__(self, codec: Codec[T], written: list[int | str] | None = None) -> None:
        size, *pieces = written or [0, ""]
        if not isinstance(size, int) or not pieces or len(pieces) & (len(pieces) - 1):
            raise ValueError("not a shelf")
        self._codec = codec
        self._size = size
        self._pieces: list[str] = [str(piece) for piece in pieces]
        self._live: dict[int, dict[str, T]] = {}
        self._changed: set[int] = set()

    def __len__(self) -> int:
        """Return the number of groups."""
        return self._size

    def __eq__(self, other: object) -> bool:
        """Compare the groups, however they lie in pieces."""
        return isinstance(other, Shelf) and dict(self.items()) == dict(cast("Shelf[T]", other).items())

    __hash__ = None  # type: ignore[assignment]

    def get(self, key: str) -> T | None:
        """Return a group, None where there is none."""
        return self._piece(self._place(key)).get(key)

    def put(self, key: str, group: T) -> None:
        """Put a group there, or back."""
        place = self._place(key)
        piece = self._piece(place)
        if key not in piece:
            if self._size >= SIZE * len(self._pieces):
                self._spread()
                return self.put(key, group)
            self._size += 1
        piece[key] = group
        self._changed.add(place)
        return None

    def drop(self, key: str) -> None:
        """Forget a group."""
        place = self._place(key)
        if self._piece(place).pop(key, None) is not None:
            self._size -= 1
            self._changed.add(place)

    def items(self) -> Iterator[tuple[str, T]]:
        """Yield all keys with their groups, which are not to be changed; the shelf neither."""
        for place, text in enumerate(self._pieces):
            live = self._live.get(place)
            yield from (live if live is not None else self._codec.read(text) if text else {}).items()

    def written(self) -> list[int | str]:
        """Return the number of groups, and all pieces as text."""
        self._write()
        return [self._size, *self._pieces]

    def _place(self, key: str) -> int:
        return crc32(key.encode("utf-8", "surrogatepass")) & (len(self._pieces) - 1)

    def _piece(self, place: int) -> dict[str, T]:
        piece = self._live.get(place)
        if piece is None:
            if len(self._live) >= LIVE:
                self._write()
                self._live.clear()
            text = self._pieces[place]
            piece = self._live[place] = self._codec.read(text) if text else {}
        return piece

    def _write(self) -> None:
        for place in self._changed:
            piece = self._live[place]
            self._pieces[place] = self._codec.write(piece).decode() if piece else ""
        self._changed.clear()

    def _spread(self) -> None:
        """Lay the groups in twice as many pieces."""
        groups = list(self.items())
        number = 2 * len(self._pieces)
        laid: list[dict[str, T]] = [{} for _ in range(number)]
        self._pieces = [""] * number
        for key, group in groups:
            laid[self._place(key)][key] = group
        if number <= LIVE:
            self._live = dict(enumerate(laid))
            self._changed = set(range(number))
        else:
            self._live, self._changed = {}, set()
            self._pieces = [self._codec.write(piece).decode() if piece else "" for piece in laid]
