"""The page of errors, found by reading the code; `docs/reference.py` writes it."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterable, Iterator
from itertools import product
from pathlib import Path
from typing import Final, NamedTuple

SOURCE: Final = Path(__file__).parents[1] / "src" / "xview2_siamese_unet"
GAP: Final = "…"
PAGE: Final = f"""# Errors

A mistake ends a command with one sentence on standard error and exit code 1 (`kedro assess`: 2): where it is, what was
found, what is allowed, what to do next. `--verbose` adds the traceback. Below stand all of them by the room that raises
them, `{GAP}` for what depends on your files. Search this page for a few words of the sentence that you got.

| kind | what is wrong |
| --- | --- |
"""
SETTINGS: Final = """
A key of the configuration that is unknown, missing or out of range is a `ConfigError` too. Its sentence is made from
the [parameters](parameters.md): it names the key, what stands there, what may, and the nearest key that exists.
"""
Names = dict[str, list[ast.expr]]


class Found(NamedTuple):
    """One call that makes an error, its parts as texts with gaps."""

    room: str
    kind: str
    where: str
    found: str
    allowed: str
    remedy: str


def errors_page() -> str:
    """Return the page of all errors."""
    kinds = _kinds()
    rows = [f"| `{kind}` | {says} |" for kind, says in kinds.items()]
    rooms: dict[str, list[Found]] = {}
    for error in sorted(set(_errors(kinds))):
        rooms.setdefault(error.room, []).append(error)
    sections = [f"## {room}\n\n" + "\n".join(map(_entry, errors)) + "\n" for room, errors in sorted(rooms.items())]
    return "\n".join([PAGE + "\n".join(rows), SETTINGS, *sections])


def _entry(error: Found) -> str:
    where, found, allowed, remedy = (_prose(part) for part in error[2:])
    return f"- {where}: found {found}  \n  *allowed* {allowed}  \n  *next* **{remedy}** · `{error.kind}`"


def _prose(text: str) -> str:
    joined = re.sub(rf"{GAP}(?:[ ,]*{GAP})+", GAP, " ".join(text.split()))
    return re.sub(r"([\\`*_<>\[\]|{}#])", r"\\\1", joined)


def _kinds() -> dict[str, str]:
    """Return the names of the kinds of error, each with the first paragraph of its docstring."""
    classes = [node for _, tree in _modules() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    known, before = {"ProjectError": ""}, 0
    while len(known) > before:
        before = len(known)
        for each in classes:
            if known.keys() & {base.id for base in each.bases if isinstance(base, ast.Name)}:
                known[each.name] = (ast.get_docstring(each) or "").split("\n\n")[0]
    return {name: says for name, says in known.items() if says}


def _modules() -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted(SOURCE.rglob("*.py")):
        yield path.relative_to(SOURCE), ast.parse(path.read_text(encoding="utf-8"))


def _errors(kinds: Collection[str]) -> Iterator[Found]:
    for path, tree in _modules():
        room = path.parts[0].removesuffix(".py") if path.parts[0] != "pipelines" else "/".join(path.parts[:2])
        for function in ast.walk(tree):
            if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
                names = _given(function, tree) | _assigned([*tree.body, *ast.walk(function)])
                for call in _calls(function, kinds):
                    yield from _spelt(room, call, names)


def _spelt(room: str, call: ast.Call, names: Names) -> Iterator[Found]:
    """Yield a call in each of its wordings; one that only passes on what it was given says nothing."""
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    parts = [call.args[0] if call.args else given["where"], given["found"], given["allowed"], given["remedy"]]
    for texts in product(*(dict.fromkeys(_texts(part, names)) for part in parts)):
        if any(text.strip(f"{GAP} ") for text in texts[1:]):
            yield Found(room, ast.unparse(call.func), *texts)


def _given(function: ast.FunctionDef | ast.AsyncFunctionDef, tree: ast.Module) -> Names:
    """Return parameter → what this module gives for it, for functions that only make an error for others."""
    given: Names = {}
    for call in _calls(tree, {function.name}):
        for parameter, value in zip(function.args.args, call.args, strict=False):
            given.setdefault(parameter.arg, []).append(value)
    return given


def _calls(tree: ast.AST, names: Collection[str]) -> Iterator[ast.Call]:
    for each in ast.walk(tree):
        if isinstance(each, ast.Call) and isinstance(each.func, ast.Name) and each.func.id in names:
            yield each


def _assigned(statements: Iterable[ast.AST]) -> Names:
    """Return name → what it is assigned, for plain and annotated assignments."""
    names: Names = {}
    for each in statements:
        if isinstance(each, ast.Assign) and isinstance(each.targets[0], ast.Name):
            names.setdefault(each.targets[0].id, []).append(each.value)
        if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name) and each.value is not None:
            names.setdefault(each.target.id, []).append(each.value)
    return names


def _texts(part: ast.expr, names: Names, depth: int = 3) -> list[str]:
    """Return the texts that an expression may give, a gap for whatever only a run knows."""
    texts = [GAP]
    match part:
        case ast.Constant(value=value):
            texts = [] if value is None else [str(value)]
        case ast.FormattedValue(value=ast.IfExp(body=body, orelse=ast.Constant(value="" | "s") as orelse)):  # plural
            texts = [max(_texts(body, names)[0], _texts(orelse, names)[0], key=len)]
        case ast.FormattedValue(value=ast.Name() | ast.IfExp() as value):
            texts = _texts(value, names, depth)
        case ast.IfExp(body=body, orelse=orelse):
            texts = _texts(body, names, depth) + _texts(orelse, names, depth)
        case ast.JoinedStr(values=parts):
            texts = ["".join(each) for each in product(*(_texts(value, names, depth) for value in parts))]
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            texts = ["".join(each) for each in product(_texts(left, names, depth), _texts(right, names, depth))]
        case ast.Name(id=name) if depth and name in names:
            texts = [text for value in names[name] for text in _texts(value, names, depth - 1)]
    return texts
