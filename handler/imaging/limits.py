"""Limits on the decoding of one file. The values are settings: `DECODE_CPU_S` and others in `handler.settings`."""

from dataclasses import dataclass

from handler.errors import DecodingTooCostly


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits on the decoding of one file. `handler.imaging.isolation` enforces them."""

    cpu_s: int
    """Seconds of CPU time, at least 1."""
    wall_s: int
    """Seconds from the start of decoding to the answer."""
    memory_mb: int
    """Megabytes in addition to those of an idle worker. Linux enforces this limit, macOS does not."""

    def exceeded(self) -> DecodingTooCostly:
        """Return the error for a file that exceeds a limit."""
        return DecodingTooCostly(
            f"Decoding takes more than {self.cpu_s} s of CPU time, {self.wall_s} s in total, or "
            f"{self.memory_mb} MB of memory. Scale the image down, or save it as an ordinary JPEG or PNG."
        )
