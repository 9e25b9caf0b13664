"""Read a dataclass from a JSON object. Every key must be a field, every field must be present, and every value must
have the type of its field."""

from collections.abc import Callable
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

T = TypeVar("T")
Require = Callable[[bool, str], None]
"""Raises an error with the given reason if the condition is false."""


def parsed(kind: type[T], values: dict[str, Any], require: Require, prefix: str = "") -> T:
    """Make a dataclass from a JSON object. JSON lists become tuples.

    Args:
        prefix: prefix of field names in errors.
    """
    hints = get_type_hints(kind)
    unknown, missing = sorted(values.keys() - hints.keys()), sorted(hints.keys() - values.keys())
    require(not unknown, f"it has unknown keys, {', '.join(prefix + name for name in unknown)}")
    require(not missing, f"it lacks {', '.join(prefix + name for name in missing)}")
    return kind(**{name: _typed(value, hints[name], require, prefix + name) for name, value in values.items()})


def _typed(value: Any, hint: Any, require: Require, name: str) -> Any:
    """Convert a JSON value to the type of a field."""
    if get_origin(hint) is tuple and isinstance(value, list):
        return tuple(_typed(item, get_args(hint)[0], require, name) for item in value)
    kinds = get_args(hint) if isinstance(hint, UnionType) else (get_origin(hint) or hint,)
    kinds = (*kinds, int) if float in kinds else kinds
    require(isinstance(value, kinds) and not isinstance(value, bool), f"{name} has the wrong type: {value!r}")
    return value
