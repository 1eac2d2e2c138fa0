"""What every race states about itself: versions, processor, threads."""

import os
import platform
import subprocess
from pathlib import Path

import torch


def use_threads(count):
    """Sets PyTorch's threads (0: one per core) and returns their number."""
    torch.set_num_threads(count or len(os.sched_getaffinity(0)))
    return torch.get_num_threads()


def processor():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def rapt_version():
    """The commit of this checkout, which the command is taken to be built from."""
    command = ["git", "-C", Path(__file__).parent, "describe", "--always", "--dirty"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def describe(**versions):
    """One line that belongs beside every figure."""
    listed = {"Python": platform.python_version(), "PyTorch": torch.__version__} | versions
    return (
        ", ".join(f"{name} {version}" for name, version in listed.items())
        + f"; {torch.get_num_threads()} threads; {processor()}, {torch.backends.cpu.get_cpu_capability()}"
    )
