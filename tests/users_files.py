"""Files as users have them, made from a real scene by the scripts of ../shared/cases."""

from __future__ import annotations

from pathlib import Path

from run_command import run_python

CASES = Path(__file__).parents[2] / "shared" / "cases"
_PROGRAM = """
import runpy, sys, warnings
warnings.simplefilter("ignore")
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def make_case(number: str, folder: Path) -> None:
    """Write the files of a case into a folder."""
    (script,) = CASES.resolve().glob(f"{number}_*.py")
    done = run_python(folder, "-c", _PROGRAM, str(script), str(folder))
    assert done.returncode == 0, done.stderr
