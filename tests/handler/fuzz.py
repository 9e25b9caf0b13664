"""Send damaged images and bodies to the service, and check for 5xx answers, hangs and memory growth.

    python -m tests.handler.fuzz --count 10000 --seed 0

Every input follows from the seed and its number, so `--first N --count 1` repeats number N.
"""

import argparse
import base64
import gc
import json
import logging
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from pydicom.data import get_testdata_file
from starlette.testclient import TestClient

from tests.handler.images import animation, bomb, dicom, encode, jpeg, noise, phantom, png

SLOW_S = 10.0
"""An answer that takes longer than this counts as a hang."""

MAX_GROWTH_MB = 64
"""Tolerance for caches and the allocator. A leak of one small image for each input would be more."""

TYPES = ("image/jpeg", "image/png", "application/dicom", "application/octet-stream", "text/plain", "", "%%%")
INTERESTING = (
    b"\0",
    b"\xff",
    b"\xff\xd8\xff",
    b"\x89PNG",
    b"DICM",
    b"%PDF",
    b"{",
    b"[",
    b'"',
    b"\r\n--x",
    b"--x--\r\n",
)


@dataclass
class Report:
    """The results of all inputs."""

    statuses: Counter[int] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    slowest_s: float = 0.0
    growth_mb: float = 0.0

    def __str__(self) -> str:
        counts = ", ".join(f"{status}: {count:,}" for status, count in sorted(self.statuses.items()))
        return f"{counts}; slowest {self.slowest_s:.2f} s; memory grew by {self.growth_mb:.1f} MB"


def seeds() -> list[bytes]:
    """Valid files, and some that are hostile by design."""
    colour = phantom().convert("RGB")
    found = [
        jpeg(),
        jpeg(progressive=True),
        encode(phantom().convert("CMYK")),
        png(),
        png(colour.convert("P")),
        noise(),
    ]
    found += [encode(colour, form) for form in ("WEBP", "BMP", "TIFF", "GIF")]
    found += [encode(phantom(), "TIFF", compression=kind) for kind in ("tiff_lzw", "tiff_deflate", "jpeg")]
    found += [animation(), bomb(), bomb(5000, 5000), b"", dicom()]
    for name in (
        "MR_small_RLE",
        "MR_small_jp2klossless",
        "MR_small_jpeg_ls_lossless",
        "SC_rgb_jpeg_dcmtk",
        "image_dfl",
        "JPGExtended",
        "SC_rgb_jpeg_gdcm",
    ):
        path = get_testdata_file(f"{name}.dcm", download=False)
        if path:
            found.append(Path(str(path)).read_bytes())
    return found


def mutated(dice: random.Random, data: bytes) -> bytes:
    """Change, cut, repeat and insert bytes, mostly near the front, where the headers are."""
    changed = bytearray(data)
    for _ in range(dice.choice((0, 1, 1, 2, 4, 16))):
        at = int(len(changed) * dice.random() ** 3)
        match dice.randrange(6):
            case 0 if changed:
                changed[min(at, len(changed) - 1)] = dice.randrange(256)
            case 1:
                del changed[at : at + dice.choice((1, 4, 64, 100_000))]
            case 2:
                changed[at:at] = changed[at : at + dice.choice((1, 4, 64))] * dice.choice((1, 8))
            case 3:
                changed[at:at] = dice.choice(INTERESTING)
            case 4:
                changed[at : at + 4] = dice.choice((0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 65535)).to_bytes(
                    4, dice.choice(("little", "big"))
                )
            case _:
                changed[at : at + 2] = dice.randbytes(2)
    return bytes(changed)


def request(dice: random.Random, sound: list[bytes]) -> tuple[str, bytes, dict[str, str]]:
    """Path, body and headers of one request."""
    path = "/v1/predictions" + dice.choice(("", "?force=true", "?force=true&explain=true", "?explain=%00"))
    image = mutated(dice, dice.choice(sound))
    match dice.randrange(4):
        case 0 | 1:
            return path, image, {"content-type": dice.choice(TYPES)}
        case 2:
            part = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + image
            body = b"\r\n".join([part] * dice.choice((1, 1, 3))) + b"\r\n--x--\r\n"
            return path, mutated(dice, body), {"content-type": "multipart/form-data; boundary=x"}
    item = {"image": base64.b64encode(image).decode()}
    document = dice.choice((item, {"items": [item, item]}, {"s3_uri": "s3://a/b"}))
    return path, mutated(dice, json.dumps(document).encode()), {"content-type": "application/json"}


def fuzz(client: TestClient, *, count: int, seed: int, first: int = 0, progress: bool = False) -> Report:
    """Send inputs number `first` to `first + count - 1`, in process."""
    report = Report()
    sound = seeds()
    settled = first + count // 2  # memory that is allocated until then, such as buffers of threads, is not a leak
    start_mb = 0.0
    for number in range(first, first + count):
        if number == settled:
            start_mb = resident_mb()
        path, body, headers = request(random.Random(f"{seed}/{number}"), sound)
        begin = time.perf_counter()
        response = client.post(path, content=body, headers=headers)
        took = time.perf_counter() - begin
        report.statuses[response.status_code] += 1
        report.slowest_s = max(report.slowest_s, took)
        if response.status_code >= 500 or took > SLOW_S:
            report.failures.append(f"number {number}: status {response.status_code} after {took:.2f} s")
        if progress and (number - first + 1) % 500 == 0:
            print(f"\r{number - first + 1:,} of {count:,}", end="", file=sys.stderr, flush=True)
    report.growth_mb = resident_mb() - start_mb
    if report.growth_mb > MAX_GROWTH_MB:
        report.failures.append(f"memory grew by {report.growth_mb:.0f} MB")
    return report


def resident_mb(process: int | str = "self") -> float:
    """Resident memory of a process; 0 without /proc."""
    gc.collect()
    status = Path(f"/proc/{process}/status")
    if not status.exists():
        return 0.0
    return next(int(line.split()[1]) / 1024 for line in status.read_text().splitlines() if line.startswith("VmRSS"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()

    from handler.http.app import app

    logging.getLogger("xray-inference").setLevel(logging.CRITICAL)
    client = TestClient(app, raise_server_exceptions=False)
    report = fuzz(client, count=options.count, seed=options.seed, first=options.first, progress=True)
    print(f"\n{report}")
    print(*report.failures, sep="\n", end="")
    return int(bool(report.failures))


if __name__ == "__main__":
    sys.exit(main())
