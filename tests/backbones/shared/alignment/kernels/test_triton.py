"""The Triton kernels equal the loops: run in a process of its own, since the interpreter is chosen
when triton is imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from backbones.shared.alignment.kernels import attention_pooled_similarity, info_nce
from bench.core.errors import SettingError

ROOT = Path(__file__).parents[5]


def test_the_kernels_in_the_interpreter() -> None:
    pytest.importorskip("triton", reason="triton is not installed")
    environment = os.environ | {
        "TRITON_INTERPRET": "1",
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    script = str(Path(__file__).with_name("interpreted_triton.py"))
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-W", "error", script]
    ran = subprocess.run(
        command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout[-4000:] + ran.stderr[-1000:]


def test_triton_on_a_cpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton", reason="triton is not installed")
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(SettingError, match="CUDA device, not on 'cpu'"):
        info_nce(torch.zeros(3, 2), torch.zeros(3, 2), tau=0.1, implementation="triton")
    with pytest.raises(SettingError, match="CUDA device, not on 'cpu'"):
        attention_pooled_similarity(
            torch.zeros(1, 1, 2), torch.zeros(1, 3, 2), implementation="triton"
        )


def test_importing_the_package_needs_no_triton() -> None:
    loaded = "any(name.split('.')[0] in ('triton', 'mmcv', 'torchvision') for name in sys.modules)"
    check = f"import sys, backbones.shared.alignment.kernels; sys.exit({loaded})"
    assert subprocess.run([sys.executable, "-c", check], cwd=ROOT, check=False).returncode == 0
