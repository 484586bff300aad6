"""xView2 Siamese U-Net: finds damaged buildings in pairs of satellite images.

The functions behind the commands, for Python and notebooks:

    import xview2_siamese_unet as xview2
    xview2.assess("before.tif", "after.tif", "assessment")
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # without __getattr__, which would accept any name
    from xview2_siamese_unet.adaptation.next_labels import label
    from xview2_siamese_unet.assessment import adapt, assess, estimate, look, validate
    from xview2_siamese_unet.campaigns import campaign_status, plan_campaign, run_campaign
    from xview2_siamese_unet.labelling.agreement import compare_labels
    from xview2_siamese_unet.metrics.challenge import score

__version__ = "0.2.0"
__all__ = [
    "adapt",
    "assess",
    "campaign_status",
    "compare_labels",
    "estimate",
    "label",
    "look",
    "plan_campaign",
    "run_campaign",
    "score",
    "validate",
]
_MODULES = {
    "label": "adaptation.next_labels",
    **dict.fromkeys(("adapt", "assess", "estimate", "look", "validate"), "assessment"),
    **dict.fromkeys(("campaign_status", "plan_campaign", "run_campaign"), "campaigns"),
    "compare_labels": "labelling.agreement",
    "score": "metrics.challenge",
}

# Set before Arrow is imported: its own allocator keeps 50 to 100 MB of freed memory after work that needs 4 MB at once.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:  # noqa: ANN401
        """Import a function when it is first used: pandas, GDAL and torch are slow to import for `--help`."""
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
