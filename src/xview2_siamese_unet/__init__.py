"""xView2 Siamese U-Net: finds damaged buildings in pairs of satellite images."""

import os

__version__ = "0.2.0"

# Before anything imports Arrow, whose own allocator keeps 50 to 100 MB freed after work that needs 4 MB at once.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
