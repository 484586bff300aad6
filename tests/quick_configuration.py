"""Tests open a hundred configurations: each text of YAML and each interpolation is parsed once in a process.

That is half of the time that opening one takes.
"""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from io import StringIO

import omegaconf.base
from omegaconf import OmegaConf

omegaconf.base.parse = cache(omegaconf.base.parse)  # type: ignore[attr-defined]
_load = cache(lambda text, load=OmegaConf.load: load(StringIO(text)))  # Kedro opens the files itself
OmegaConf.load = staticmethod(lambda file: deepcopy(_load(file.read())))  # type: ignore[method-assign]
