"""`vlabench demos`, used as its users do: in a process of its own."""

import hashlib
import json
import signal
import subprocess
import time
from pathlib import Path

import pytest
from test_cli import VLABENCH, vlabench

from vlabench import read_run

pytest.importorskip("h5py", reason="needs the extra: pip install 'vlabench-harness[demos]'")

COLLECT = ["demos", "collect", "--suite", "point-reach", "--policy", "point-reach-expert"]
