"""The machine on which a measurement was taken."""

import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_LIBRARIES = ("ai-edge-litert", "flask", "keras", "numpy", "onnxruntime", "openvino", "pillow", "tensorflow", "tf2onnx")

_CPUINFO = Path("/proc/cpuinfo")


def describe() -> dict[str, Any]:
    """CPU model, cores, the instruction sets that matter to a network, and versions of the libraries in use.

    `flags` is None if the system does not list them. psutil has neither the CPU's model nor its flags.
    """
    lines = _CPUINFO.read_text(encoding="utf-8").splitlines() if _CPUINFO.is_file() else []
    facts = dict(re.split(r"\s*:\s*", line, maxsplit=1) for line in reversed(lines) if ":" in line)
    flags = set(facts.get("flags", facts.get("Features", "")).split())
    return {
        "cpu": facts.get("model name") or platform.processor() or platform.machine(),
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "flags": {
            "avx2": "avx2" in flags,
            "avx512": "avx512f" in flags,
            "vnni": bool(flags & {"avx512_vnni", "avx_vnni"}),
            "bf16": bool(flags & {"avx512_bf16", "amx_bf16", "bf16"}),
            "amx_int8": "amx_int8" in flags,
            "dot_product": "asimddp" in flags,
        }
        if flags
        else None,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "libraries": {name: found for name in _LIBRARIES if (found := _version(name))},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
