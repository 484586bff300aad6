"""Caches parsed YAML and interpolations, because tests open a thousand configurations in a process.

Parsing takes half of the time to open a configuration.
"""

from __future__ import annotations

import pickle
import sys
from functools import cache
from io import StringIO

import omegaconf.base
from omegaconf import OmegaConf

omegaconf.base.parse = cache(omegaconf.base.parse)  # type: ignore[attr-defined]
_load = cache(lambda text, load=OmegaConf.load: pickle.dumps(load(StringIO(text))))  # Kedro opens the files itself
OmegaConf.load = staticmethod(lambda file: pickle.loads(_load(file.read())))  # type: ignore[method-assign]  # noqa: S301

# Kedro looks for this library, which is not installed, for each of the 200 parameters that it adds to a catalog.
sys.modules.setdefault("ibis", None)  # type: ignore[arg-type]
