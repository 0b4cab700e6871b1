"""The machine's own facts stand in one file, and are what the operating system says."""

import os
import platform
import shutil
from pathlib import Path

import pytest
import torch

from unidiff_cli import machine

ROOT = Path(__file__).parent.parent
SPELLINGS = (
    "cuda.is_available",
    "device_count",
    "get_device_name",
    "is_bf16_supported",
    "cpu_count",
    "sched_getaffinity",
    "disk_usage",
)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_only_one_file_asks_the_machine(spelling):
    files = [
        path.relative_to(ROOT).as_posix()
        for folder in ("unidiff_cli", "pretraining", "benchmarks")
        for path in (ROOT / folder).rglob("*.py")
        if spelling in path.read_text(encoding="utf-8")
    ]
    assert files == ["unidiff_cli/machine.py"]


def test_the_device_is_the_gpu_where_there_is_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert machine.device() == torch.device("cuda")
    with machine.without_gpu():
        assert machine.device() == torch.device("cpu")
    assert machine.device() == torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert machine.device() == torch.device("cpu")


def test_every_gpu_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: f"card {number}")
    assert machine.gpu_count() == 2 and machine.gpu_names() == ["card 0", "card 1"]


def test_bf16_needs_a_gpu_that_has_it_without_emulation(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    # The GPU computes, whatever the processor has.
    for has in (True, False):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda other=not has: other)
        monkeypatch.setattr(
            torch.cuda, "is_bf16_supported", lambda including_emulation, has=has: has
        )
        assert machine.bf16_supported() is has


@pytest.mark.parametrize("instructions", [(), ("avx512_bf16",), ("amx_tile",)])
def test_bf16_on_a_processor_needs_instructions_that_multiply_in_it(monkeypatch, instructions):
    for name in ("avx512_bf16", "amx_tile"):
        monkeypatch.setattr(
            torch.cpu, f"_is_{name}_supported", lambda has=name in instructions: has
        )
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    assert machine.bf16_supported() is machine.processor_has("bf16") is bool(instructions)
    # Another processor's own answer is torch's, and nobody has measured it.
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert machine.processor_has("bf16") is torch.ops.mkldnn._is_mkldnn_bf16_supported()
    assert machine.bf16_supported() is bool(instructions)


def test_cores_are_those_the_process_may_use(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 3, 5}, raising=False)
    assert machine.cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    assert machine.cores() == 4


def test_free_space_of_a_folder_that_is_not_created_yet(tmp_path):
    free = machine.free_bytes(tmp_path / "project" / "shards")
    assert free == pytest.approx(shutil.disk_usage(tmp_path).free, abs=1 << 30)


def test_memory_in_use_is_the_process_s_own_or_the_most_of_the_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    before = machine.memory_in_use()
    held = torch.ones(2**24)
    assert machine.memory_in_use() - before > held.nbytes // 2
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 7)
    assert machine.memory_in_use() == 7


def test_a_processor_has_a_name_on_every_system(monkeypatch, tmp_path):
    facts = tmp_path / "cpuinfo"
    monkeypatch.setattr(machine, "Path", lambda at: facts)
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    assert machine.processor() == "arm64"
    facts.write_text("processor : 0\nmodel name\t: A Fast One: 9\nmodel name\t: A Fast One: 9\n")
    assert machine.processor() == "A Fast One: 9"
    # As on other processors than x86.
    facts.write_text("processor : 0\nBogoMIPS : 50\n")
    assert machine.processor() == "arm64"
