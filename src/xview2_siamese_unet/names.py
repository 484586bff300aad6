"""Names of files and folders that every system accepts: Linux, macOS and Windows."""

from __future__ import annotations

import re
from typing import Final

_FORBIDDEN: Final = re.compile(r'[\x00-\x1f<>:"/\\|?*]|[. ]\Z')
_DEVICE: Final = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[1-9¹²³]) *(\..*)?", re.IGNORECASE | re.DOTALL)


def is_portable(name: str) -> bool:
    """Return whether a file can have a name on every system.

    Windows takes `nul.json` for a device and `a.json:b` for a stream of another file, and drops a dot at the end.
    """
    return name != "" and _FORBIDDEN.search(name) is None and _DEVICE.fullmatch(name) is None
