"""Run in a process of its own: print as JSON what a compiled Python module offers.

python api_dump.py MODULE PATH [LIBRARY...]: PATH goes first on the module search path; the
libraries are loaded beforehand, so that the module finds them.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import sys
from typing import Any


def dump_class(kind: type) -> dict[str, Any]:
    """Return {"members": {name: {"kind", "doc", "settable"}}, "classes": {...}}."""
    members: dict[str, Any] = {}
    classes: dict[str, Any] = {}
    for name in dir(kind):
        if name.startswith("_") and name != "__init__":
            continue
        value = next((vars(k)[name] for k in kind.__mro__ if name in vars(k)), None)
        if isinstance(value, type):
            classes[name] = dump_class(value)
            members[name] = {"kind": "class"}
        elif isinstance(value, property):
            doc = value.fget.__doc__ if value.fget else ""
            members[name] = {"kind": "property", "doc": doc, "settable": value.fset is not None}
        elif callable(getattr(kind, name)):
            members[name] = {"kind": "method", "doc": getattr(kind, name).__doc__ or ""}
        else:
            members[name] = {"kind": "value", "type": type(getattr(kind, name)).__qualname__}
    return {"members": members, "classes": classes, "bases": [b.__name__ for b in kind.__mro__]}


def main() -> None:
    """Print the JSON."""
    name, path, *libraries = sys.argv[1:]
    for library in libraries:
        ctypes.CDLL(library, ctypes.RTLD_GLOBAL)
    sys.path.insert(0, path)
    module = importlib.import_module(name)
    print(json.dumps({"version": getattr(module, "__version__", ""), **dump_class_like(module)}))


def dump_class_like(module: Any) -> dict[str, Any]:
    """Return a module as `dump_class` returns a class."""
    members: dict[str, Any] = {}
    classes: dict[str, Any] = {}
    for name in dir(module):
        value = getattr(module, name)
        if name.startswith("_") and name != "__version__":
            continue
        if isinstance(value, type):
            classes[name] = dump_class(value)
            members[name] = {"kind": "class"}
        elif callable(value):
            members[name] = {"kind": "function", "doc": value.__doc__ or ""}
        else:
            members[name] = {"kind": "value", "type": type(value).__name__}
    return {"members": members, "classes": classes, "bases": []}


if __name__ == "__main__":
    main()
