"""The rows, by what is hurt. Importing this registers them; their order is that of their numbers."""

from play import ROWS
from rows import answers, calls, clocks, connections, crowds, floods, handshakes, operations, paths, service, streams

_ordered = sorted(ROWS.items())
ROWS.clear()
ROWS.update(_ordered)

__all__ = ["answers", "calls", "clocks", "connections", "crowds", "floods", "handshakes", "operations", "paths", "service", "streams"]
