"""Reading a weights file runs no code: settings objects become placeholders, anything else is
refused or dropped."""

from __future__ import annotations

import collections
import os
import pickle
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from backbones.published.convert import convert, main
from backbones.shared.weights.reading import Inert, read_weights, state_dict_of
from bench.core.errors import CheckpointError

RAN: list[Any] = []
TENSORS = {"conv.weight": torch.arange(6.0).reshape(2, 3), "conv.bias": torch.ones(2)}


def _run(*arguments: Any) -> dict[str, Any]:
    RAN.append(arguments)
    return {}


class Hostile:
    """Calls `function` when it is unpickled in the ordinary way."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


@pytest.fixture
def omegaconf(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module that looks like omegaconf, whose classes tell when they are touched; gone before the
    file is read."""
    module = types.ModuleType("omegaconf.dictconfig")

    class DictConfig(dict):
        def __init__(self, *arguments: Any) -> None:
            RAN.append(arguments)

        def __getstate__(self) -> dict[str, Any]:
            return {"_content": {"lr": 1e-4}, "_metadata": (dict, collections.OrderedDict)}

        def __setstate__(self, state: object) -> None:
            RAN.append(state)

    DictConfig.__module__, DictConfig.__qualname__ = module.__name__, "DictConfig"
    vars(module)["DictConfig"] = DictConfig
    monkeypatch.setitem(sys.modules, "omegaconf", types.ModuleType("omegaconf"))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


@pytest.fixture(autouse=True)
def nothing_ran() -> Iterator[None]:
    RAN.clear()
    yield
    assert RAN == []


def saved(
    tmp_path: Path,
    content: torch.nn.modules.container.Sequential | dict[str, Any],
    **options: bool | Any,
) -> Path:
    path = tmp_path / "weights.ckpt"
    torch.save(content, path, **options)
    RAN.clear()
    return path


@pytest.mark.parametrize("zipped", [True, False])
def test_gloria_style_settings_are_read_as_placeholders(
    tmp_path: Path, omegaconf: ModuleType, monkeypatch: pytest.MonkeyPatch, zipped: bool
) -> None:
    content = {
        "state_dict": TENSORS,
        "hyper_parameters": omegaconf.DictConfig(),
        "callbacks": {dict: 1},
    }
    path = saved(tmp_path, content, _use_new_zipfile_serialization=zipped)
    monkeypatch.delitem(sys.modules, "omegaconf.dictconfig")
    monkeypatch.delitem(sys.modules, "omegaconf")
    found = read_weights(path)
    assert torch.equal(state_dict_of(found, path)["conv.weight"], TENSORS["conv.weight"])
    assert isinstance(found["hyper_parameters"], Inert)
    assert "omegaconf.dictconfig" not in sys.modules


@pytest.mark.parametrize("function", [os.system, eval, exec, _run, os.path.exists])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_code_carrying_pickle_is_refused_and_does_not_run(
    tmp_path: Path, function: Callable[..., Any], zipped: bool
) -> None:
    marker = tmp_path / "ran"
    command = f"touch {marker}" if function is os.system else f"open({str(marker)!r}, 'w')"
    path = saved(
        tmp_path,
        {"state_dict": TENSORS, "x": Hostile(function, command)},
        _use_new_zipfile_serialization=zipped,
    )
    with pytest.raises(
        CheckpointError, match=r"weights\.ckpt.*(carries code.*published\.convert|is hostile)"
    ):
        read_weights(path)
    assert not marker.exists()


@pytest.mark.parametrize("where", ["hyper_parameters", "callbacks"])
def test_code_hidden_among_allowed_names_does_not_run(tmp_path: Path, where: str) -> None:
    marker = tmp_path / "ran"
    hidden = Hostile(_getitem, [Hostile(os.system, f"touch {marker}")], 0)
    path = saved(tmp_path, {"state_dict": TENSORS, where: hidden})
    with pytest.raises(CheckpointError):
        read_weights(path)
    assert not marker.exists()


def _getitem(*arguments: Any) -> None:
    RAN.append(arguments)


def test_allowed_functions_are_placeholders_too(tmp_path: Path) -> None:
    import functools
    import operator

    path = saved(
        tmp_path,
        {
            "state_dict": TENSORS,
            "typing": Hostile(operator.getitem, [1, 2], 0),
            "p": functools.partial(_length),
        },
    )
    with pytest.raises(CheckpointError, match="_length"):
        read_weights(path)
    path = saved(tmp_path, {"state_dict": TENSORS, "typing": Hostile(operator.getitem, [1, 2], 0)})
    assert isinstance(read_weights(path)["typing"], Inert)  # not 1: getitem was not called


def _length() -> None:
    RAN.append(())


def test_conversion_keeps_the_tensors_and_runs_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = saved(tmp_path, {"state_dict": TENSORS, "x": Hostile(_run, "code")})
    target = tmp_path / "clean.safetensors"
    assert main([str(path), str(target)]) == 0
    assert "2 tensors" in capsys.readouterr().out
    assert torch.equal(read_weights(target)["conv.weight"], TENSORS["conv.weight"])


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")
def test_conversion_of_a_whole_pickled_module(tmp_path: Path, zipped: bool) -> None:
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2))
    model[0].weight = torch.nn.Parameter(
        torch.randn(1, 3, 3, 2, generator=torch.manual_seed(1)).permute(3, 0, 1, 2)
    )  # strides
    path = saved(tmp_path, model, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match="carries code|torch.nn.modules|no tensors by name"):
        read_weights(path)
    assert convert(path, tmp_path / "m.safetensors") == len(model.state_dict())
    found = read_weights(tmp_path / "m.safetensors")
    assert all(torch.equal(found[key], value) for key, value in model.state_dict().items())


@pytest.mark.parametrize("zipped", [True, False])
def test_conversion_refuses_the_operating_systems_functions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], zipped: bool
) -> None:
    content = {"state_dict": TENSORS, "x": Hostile(os.system, f"touch {tmp_path / 'ran'}")}
    path = saved(tmp_path, content, _use_new_zipfile_serialization=zipped)
    assert main([str(path), str(tmp_path / "clean.safetensors")]) == 2
    assert "weights.ckpt" in capsys.readouterr().err
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "clean.safetensors").exists()


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.bool]
)
def test_the_old_file_format_gives_the_same_tensors(tmp_path: Path, dtype: torch.dtype) -> None:
    base = torch.arange(24).to(dtype)
    content: dict[str, Any] = {
        "state_dict": {
            "a": base.view(4, 6).T,
            "shared": base[3:7],
            "scalar": torch.tensor(1).to(dtype),
        },
        "epoch": 2,
    }
    found = read_weights(saved(tmp_path, content, _use_new_zipfile_serialization=False))
    assert found["epoch"] == 2
    for key, value in content["state_dict"].items():
        assert torch.equal(found["state_dict"][key], value)
        assert found["state_dict"][key].dtype == dtype


def test_a_truncated_file_of_the_old_format_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, {"state_dict": TENSORS}, _use_new_zipfile_serialization=False)
    whole = path.read_bytes()
    for keep in (10, len(whole) // 2, len(whole) - 3):
        path.write_bytes(whole[:keep])
        with pytest.raises(CheckpointError, match="is damaged|more than tensors"):
            read_weights(path)


@pytest.mark.parametrize(
    "content", [b"", b"not a checkpoint", pickle.dumps({"a": 1}), b"PK\x03\x04" + bytes(100)]
)
def test_files_of_another_kind_are_refused(tmp_path: Path, content: bytes) -> None:
    for name in ("weights.pth", "weights.safetensors"):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=name):
            state_dict_of(read_weights(path), path)


def test_the_dict_is_found_or_named(tmp_path: Path) -> None:
    nested = {"net": {"ema": TENSORS}, "epoch": 3}
    path = tmp_path / "x.pth"
    assert set(state_dict_of({"model": TENSORS, "other": 1}, path)) == set(TENSORS)
    assert set(state_dict_of(nested, path, "net.ema")) == set(TENSORS)
    with pytest.raises(CheckpointError, match=r"no dict 'nett'; it holds net, epoch"):
        state_dict_of(nested, path, "nett")
    with pytest.raises(CheckpointError, match="no tensors by name"):
        state_dict_of(nested, path)


def test_a_file_that_would_unpack_to_more_than_itself_is_refused(tmp_path: Path) -> None:
    import zipfile

    path = tmp_path / "bomb.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb/data.pkl", b"\0" * 5_000_000)
        archive.writestr("bomb/version", b"3\n")
    with pytest.raises(CheckpointError, match=r"bomb\.pt has .* and would unpack to 5\.?0* MB"):
        read_weights(path)


def test_an_old_file_cannot_ask_for_more_memory_than_it_holds(tmp_path: Path) -> None:
    path = saved(tmp_path, {"a": torch.ones(3)}, _use_new_zipfile_serialization=False)
    content = path.read_bytes()
    assert content.count(b"K\x03Nt") == 1  # the count of the storage's elements
    path.write_bytes(content.replace(b"K\x03Nt", b"J\xff\xff\xff\x7fNt"))
    with pytest.raises(CheckpointError, match="is damaged: storage .* larger than the file"):
        read_weights(path)


@pytest.mark.parametrize("name", ["weights.pt", "weights.safetensors"])
def test_a_pipe_a_device_and_a_directory_are_no_weights(name: str, tmp_path: Path) -> None:
    for make, word in (
        (os.mkfifo, "a pipe"),
        (lambda path: path.symlink_to("/dev/zero"), "a device"),
        (lambda path: path.mkdir(), "a directory"),
    ):
        path = tmp_path / f"{word[2:]}-{name}"
        make(path)
        with pytest.raises(CheckpointError, match=f"{name} is {word}"):
            read_weights(path)


@pytest.mark.parametrize("zipped", [True, False])
def test_any_damage_to_a_file_is_one_sentence(tmp_path: Path, zipped: bool) -> None:
    import random

    path = saved(tmp_path, {"state_dict": TENSORS}, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    draw = random.Random(5)
    for _ in range(150):
        content = bytearray(whole)
        for _ in range(draw.choice([1, 3, 20])):
            content[draw.randrange(len(content))] = draw.randrange(256)
        path.write_bytes(content)
        try:
            found = state_dict_of(read_weights(path), path)
        except CheckpointError as error:
            assert "weights.ckpt" in str(error) and "\n" not in str(error)
        else:
            assert all(isinstance(value, torch.Tensor) for value in found.values())


def test_a_converted_file_has_the_mode_of_files_here(tmp_path: Path) -> None:
    path = saved(tmp_path, TENSORS)
    convert(path, tmp_path / "clean.safetensors")
    assert (tmp_path / "clean.safetensors").stat().st_mode == path.stat().st_mode
    assert {each.name for each in tmp_path.iterdir()} == {"weights.ckpt", "clean.safetensors"}


@pytest.mark.parametrize("kind", ["sparse", "complex"])
@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_of_another_kind_are_no_code(tmp_path: Path, kind: str, zipped: bool) -> None:
    values = torch.ones(2, 2)
    other = values.to_sparse() if kind == "sparse" else values.to(torch.complex64)
    path = saved(tmp_path, {"a": other}, _use_new_zipfile_serialization=zipped)
    try:
        state = state_dict_of(read_weights(path), path)
    except CheckpointError as error:
        assert "sparse" in str(error) or "of a kind that is not read" in str(error)
    else:
        assert (kind, zipped, state["a"].dtype) == ("complex", True, torch.complex64)
