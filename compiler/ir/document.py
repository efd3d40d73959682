"""A file of the user as data, with the line and column where every key and value stands."""

from __future__ import annotations

from dataclasses import dataclass, field

from compiler.diagnostics import Diagnostic, Location

KeyPath = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """Parsed data and, for each path of keys and positions, where it stands."""

    path: str
    """As shown to the user: relative to where modelc was called."""
    data: object
    keys: dict[KeyPath, tuple[int, int]] = field(default_factory=dict)
    """Place of the key (or list item) at the end of each path."""
    values: dict[KeyPath, tuple[int, int]] = field(default_factory=dict)
    faults: tuple[Diagnostic, ...] = ()
    """What is wrong and left the text readable: keys given twice, of which the first counts."""

    def key(self, *path: str | int) -> Location:
        """Where the key stands; the nearest known parent when it does not."""
        return self._locate(self.keys, path)

    def value(self, *path: str | int) -> Location:
        """Where the value stands; the nearest known parent when it does not."""
        return self._locate(self.values, path)

    def holds(self, *path: str | int) -> bool:
        """Whether the user gave a value there, be it at fault."""
        here = self.data
        for step in path:
            if isinstance(here, dict):
                here = here.get(step)
            elif isinstance(here, list) and isinstance(step, int) and step < len(here):
                here = here[step]
            else:
                return False
        return here is not None

    def _locate(self, places: dict[KeyPath, tuple[int, int]], path: KeyPath) -> Location:
        if path in places:
            return Location(self.path, *places[path])
        while path:
            path = path[:-1]
            if path in self.keys:
                return Location(self.path, *self.keys[path])
        return Location(self.path, 1, 1)
