"""Checks dtype and shape of arrays at every call of the package while the tests run.

Functions, named tuples and dataclasses with a type of `jaxtyping` in their signature are wrapped when their module is
imported. `jaxtyping.install_import_hook` would wrap every function but no named tuple, and Python would not use
compiled bytecode of the libraries that a module imports.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import FunctionType, ModuleType
from typing import Any, get_args

from beartype.door import is_bearable
from jaxtyping import AbstractArray, jaxtyped

_Kind = inspect._ParameterKind


def check_imports(package: str) -> None:
    """Check the modules of a package that are imported from now on."""
    sys.meta_path.insert(0, _Finder(package))


class _Finder(MetaPathFinder):
    def __init__(self, package: str) -> None:
        self._package = package

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname, path) if fullname.startswith(f"{self._package}.") else None
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


class _Loader(SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        for owner, name, value in [*_members(module, module.__name__)]:
            if isinstance(value, FunctionType):
                setattr(owner, name, _checked(value, vars(module)))
            elif isinstance(value, (classmethod, staticmethod)):
                setattr(owner, name, type(value)(_checked(value.__func__, vars(module))))
            elif isinstance(value, property) and value.fget is not None:
                setattr(owner, name, value.getter(_checked(value.fget, vars(module))))


def _members(owner: ModuleType | type, module: str) -> Iterator[tuple[ModuleType | type, str, object]]:
    """Yield the members that a module and its classes define, neither imported nor inherited ones."""
    for name, value in vars(owner).items():
        if inspect.isclass(value) and value.__module__ == module and value.__name__ == name:
            yield from _members(value, module)
        elif getattr(value, "__module__", module) == module or name == "__new__":  # of a named tuple
            yield owner, name, value


def _checked(function: Callable[..., Any], names: dict[str, Any]) -> Callable[..., Any]:
    """Return a function that checks the arrays in its signature, or the function itself if it has none."""
    hints = _hints(function, names)
    if not hints:
        return function
    signature = inspect.signature(function)
    collects = any(each.kind in (_Kind.VAR_POSITIONAL, _Kind.VAR_KEYWORD) for each in signature.parameters.values())
    returned = None if inspect.isgeneratorfunction(function) else hints.pop("return", None)
    types, passed = hints | {"return": returned}, set()

    def check(values: dict[str, object]) -> None:
        layout = _layout(values)
        if layout in passed:
            return
        with jaxtyped("context"):  # in which each axis name has one length
            for name, value in values.items():
                _check(value, types[name], f"{function.__qualname__}: {'the result' if name == 'return' else name}")
        if layout is not None:
            passed.add(layout)

    @functools.wraps(function)
    def checked(*args: object, **kwargs: object) -> object:
        if collects:
            values = signature.bind(*args, **kwargs).arguments
        else:  # the same, in a quarter of the time
            values = dict(zip(signature.parameters, args, strict=False)) | kwargs
        if any(type(value).__name__ == "Proxy" for value in values.values()):
            return function(*args, **kwargs)  # torch.fx traces a net with stand-ins for tensors
        given = {name: values[name] for name in hints if name in values}
        check(given)
        result = function(*args, **kwargs)
        if returned is not None:
            check(given | {"return": result})
        return result

    return checked


def _layout(values: dict[str, object]) -> tuple[object, ...] | None:
    """Return dtypes and shapes, so that each combination is checked once; `None` if a value is not an array."""
    try:
        return tuple((name, type(value), value.dtype, value.shape) for name, value in values.items())  # type: ignore[attr-defined]
    except AttributeError:
        return None


def _hints(function: Callable[..., Any], names: dict[str, Any]) -> dict[str, Any]:
    """Return the types with a shape in a signature: name of the argument, or `return` → type."""
    hints = {}
    for name, text in inspect.get_annotations(function).items():
        try:
            hint = eval(getattr(text, "__forward_arg__", text), names) if text else None  # noqa: S307  our own source
        except (NameError, TypeError):  # a type for type checkers only
            continue
        if _has_shape(hint):
            kind = inspect.signature(function).parameters[name].kind if name != "return" else None
            hints[name] = {_Kind.VAR_POSITIONAL: tuple[hint, ...], _Kind.VAR_KEYWORD: dict[str, hint]}.get(kind, hint)
    return hints


def _has_shape(hint: object) -> bool:
    return (inspect.isclass(hint) and issubclass(hint, AbstractArray)) or any(map(_has_shape, get_args(hint)))


def _check(value: object, hint: object, where: str) -> None:
    if not is_bearable(value, hint):
        found = f"{value.dtype}{tuple(value.shape)}" if hasattr(value, "dtype") else repr(value)[:200]
        raise AssertionError(f"{where} is {found}, not {hint}")
