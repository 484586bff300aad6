"""Runs the steps of a Containerfile without a container engine, in root folders made of mounts (root on Linux)."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from subprocess import CompletedProcess

import pytest

from built_wheels import check_done

_PATH = "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"  # of the base image
_NETWORK = re.compile("cert|proxy|index", re.IGNORECASE)
_PARTS = ("etc", "usr", "var", "usr/local")
"""Folders that are mounted copy-on-write."""
_MEMORY = (("dev/shm", "64m"), ("tmp", "1g"))
"""Folders in memory, with the size of `/dev/shm` in Docker and Podman."""


def skip_without_mounts() -> None:
    """Skip the test if this process may not mount."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("needs Linux and root to mount the folders of an image")
    if (done := _unshare([["mount", "-t", "tmpfs", "tmpfs", "/mnt"]], "--net")).returncode:
        pytest.skip(f"needs mount and network namespaces: {done.stderr.strip()}")


@dataclass
class Stage:
    """Root folder: a copy-on-write view of this machine's system, with a Python at `/usr/local`.

    Attributes:
        root: folder, with the layers of its mounts next to it.
        python: prefix of a Python.
    """

    root: Path
    python: Path
    env: dict[str, str] = field(default_factory=lambda: {"PATH": _PATH})
    args: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"
    user: str = "0:0"
    entrypoint: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name in ("dev", "proc", "tmp", "root", "opt", *_PARTS[:3]):
            (self.root / name).mkdir(parents=True)
        (self.root / "tmp").chmod(0o1777)
        for name in ("bin", "lib", "lib64", "sbin"):
            (self.root / name).symlink_to(f"usr/{name}")
        for name in _PARTS:
            for layer in ("upper", "work"):
                self._layer(name, layer).mkdir(parents=True)

    def _layer(self, name: str, layer: str) -> Path:
        return self.root.with_name(f"{self.root.name}-{name.replace('/', '-')}") / layer

    def _mount(self) -> list[list[str]]:
        """Return the commands that mount the parts of the root folder."""
        commands = [["mount", "--bind", str(self.root), str(self.root)]]
        for name in _PARTS:
            lower = self.python if name == "usr/local" else Path("/", name)
            layers = f"lowerdir={lower},upperdir={self._layer(name, 'upper')},workdir={self._layer(name, 'work')}"
            commands.append(["mount", "-t", "overlay", "-o", layers, "overlay", f"{self.root}/{name}"])
        return commands + [["mount", "--rbind", f"/{name}", f"{self.root}/{name}"] for name in ("dev", "proc")]

    def _enter(self, env: dict[str, str], *command: str) -> list[str]:
        variables = [f"{name}={value}" for name, value in env.items()]
        around = ["env", "--ignore-environment", f"--chdir={self.workdir}", *variables]
        return ["exec", "chroot", str(self.root), *around, *command]

    def build(self, line: str) -> None:
        """Run a line of the shell as root, with the network of this machine."""
        network = {name: value for name, value in os.environ.items() if _NETWORK.search(name)}
        env = {**network, "HOME": "/root", **self.env, **self.args}
        check_done(_unshare([*self._mount(), self._enter(env, "/bin/sh", "-ec", line)]))

    def start(
        self, command: Sequence[str], *, user: str, volumes: dict[Path, str], **env: str
    ) -> CompletedProcess[str]:
        """Run a command as `--read-only --network none --cap-drop all --tmpfs /tmp --user` does.

        Args:
            command: with the entry point.
            user: numbers of user and group, such as `1000:1000`.
            volumes: folder of this machine → folder in the image.
            env: more variables.
        """
        uid, gid = user.split(":")
        rights = (f"--reuid={uid}", f"--regid={gid}", "--clear-groups", "--bounding-set=-all", "--no-new-privs")
        inside = {str(folder): f"{self.root}{target}" for folder, target in volumes.items()}
        commands = [
            *self._mount(),
            *(["mount", "-t", "tmpfs", "tmpfs", f"{self.root}/{name}", "-o", f"size={size}"] for name, size in _MEMORY),
            ["mkdir", "-p", *inside.values()],
            *(["mount", "-o", "remount,bind,ro", f"{self.root}/{name}"] for name in ("", *_PARTS)),
            *(["mount", "--bind", folder, target] for folder, target in inside.items()),
            self._enter(self.env | env, "setpriv", *rights, *command),
        ]
        return _unshare(commands, "--net")


def _unshare(commands: list[list[str]], *more: str) -> CompletedProcess[str]:
    lines = "\n".join(map(shlex.join, commands))
    command = ["unshare", "--mount", *more, "/bin/sh", "-ec", lines]
    return subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603


def build_image(project: Path, folder: Path, python: Path, **build_args: str) -> Stage:
    """Run the steps of `project/Containerfile` and return its last stage.

    Raises:
        AssertionError: an instruction or its form is not supported, or a command failed.
    """
    build = _Build(project, folder, python, build_args)
    for name, rest in read_steps((project / "Containerfile").read_text(encoding="utf-8")):
        assert name in _STEPS, f"unknown instruction {name}"
        _STEPS[name](build, rest)
    return build.stage


def read_steps(text: str) -> list[tuple[str, str]]:
    """Return each instruction with its text, continued lines joined."""
    lines = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)).splitlines()
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in lines if line)]


class _Build:
    def __init__(self, project: Path, folder: Path, python: Path, build_args: dict[str, str]) -> None:
        self.project, self.folder, self.python, self.build_args = project, folder, python, build_args
        self.stages: dict[str, Stage] = {}

    @property
    def stage(self) -> Stage:
        return [*self.stages.values()][-1]

    def begin(self, rest: str) -> None:
        name = rest.partition(" AS ")[2]
        self.stages[name] = Stage(self.folder / (name or "last"), self.python)
        self.stage.build("ldconfig")  # as in the base image; otherwise the libpython of this machine is loaded

    def declare(self, rest: str) -> None:
        name, _, default = rest.partition("=")
        self.stage.args[name] = self.build_args.get(name, default)

    def set_env(self, rest: str) -> None:
        pairs = (pair.partition("=") for pair in shlex.split(Template(rest).substitute(self.stage.env)))
        self.stage.env |= {name: value for name, _, value in pairs}

    def change_folder(self, rest: str) -> None:
        (self.stage.root / rest[1:]).mkdir(exist_ok=True)
        self.stage.workdir = rest

    def copy(self, rest: str) -> None:
        option, *names = rest.split() if rest.startswith("--from=") else ("", *rest.split())
        source = self.stages[option.removeprefix("--from=")].root if option else self.project
        *names, target = names
        into = self.stage.root / self.stage.workdir[1:] / target.lstrip("/")
        for name in names:
            path = source / name.lstrip("/")
            if (
                path.is_dir()
            ):  # copy its contents, as engines do; links suffice, because no step changes files of another stage
                copy = os.link if option else shutil.copy2
                shutil.copytree(path, into, symlinks=True, dirs_exist_ok=True, copy_function=copy)
            else:
                shutil.copy(path, into / path.name)

    def run(self, rest: str) -> None:
        self.stage.build(rest)

    def set_user(self, rest: str) -> None:
        self.stage.user = rest

    def set_entrypoint(self, rest: str) -> None:
        self.stage.entrypoint = json.loads(rest)


_STEPS = {
    "FROM": _Build.begin,
    "ARG": _Build.declare,
    "ENV": _Build.set_env,
    "WORKDIR": _Build.change_folder,
    "COPY": _Build.copy,
    "RUN": _Build.run,
    "LABEL": lambda build, rest: None,
    "USER": _Build.set_user,
    "ENTRYPOINT": _Build.set_entrypoint,
}
