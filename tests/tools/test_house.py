import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_no_folder_is_too_full_and_no_folders_import_each_other_in_a_circle():
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "house.py")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
