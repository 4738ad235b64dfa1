"""500 seeded draws: whatever happens to a file, the run names it, says it or reads the same."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from bench.core.errors import PlaceBenchError
from tests.damage.operators import DAMAGES, SAME, Damage
from tests.damage.scenes import SCENES, Reading, Scene

KINDS = sorted(DAMAGES)
DRAWS = 500
EACH = DRAWS // len(KINDS)
"""Draws of one kind of file."""
LONGEST = 700
"""Characters of a sentence that a person can still read."""


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Scenes]:
    """Where a sound copy of every scene lies, and where its damaged twin is put: made when first
    asked for."""
    yield _Scenes(tmp_path_factory.mktemp("damage"))


class _Scenes(dict[str, tuple[Path, Path]]):
    """Write a scene once; a damaged one stands at the very place where the sound one was written,
    as caches know files by their place and time."""

    def __init__(self, home: Path) -> None:
        super().__init__()
        self.home = home
        self.readings: dict[str, Reading] = {}

    def __missing__(self, name: str) -> tuple[Path, Path]:
        kept = self.home / "sound" / name
        twin = self.home / "twin" / name
        twin.mkdir(parents=True)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PLACE_BENCH_CACHE", str(twin / "cache"))
            SCENES[name].write(twin)
            shutil.copytree(twin, kept)
            self.readings[name] = SCENES[name].read(twin, "stop")
        self[name] = (kept, twin)
        return self[name]

    def restored(self, name: str) -> Path:
        """Return the folder of a scene, sound again to the last byte and time."""
        kept, twin = self[name]
        shutil.rmtree(twin)
        shutil.copytree(kept, twin, symlinks=True)
        return twin


def _draw(seed: int) -> tuple[Scene, str, Damage, np.random.Generator]:
    """Return what happens in a draw: every kind has its own run of seeds."""
    rng = np.random.default_rng([2026, seed])
    scene, group = KINDS[seed // EACH]
    damages = DAMAGES[scene, group]
    return SCENES[scene], group, damages[int(rng.integers(len(damages)))], rng


def _complaint(error: PlaceBenchError, path: Path) -> str:
    """Return what is wrong with a sentence that stops a run; "" where it is good."""
    text = str(error)
    flat = "".join(text.split())
    if "Traceback" in text or " object at 0x" in text or "\n" in text.strip():
        return "is not one sentence"
    if len(text) > LONGEST:
        return f"has {len(text)} characters"
    names = (path.name, path.stem, path.parent.name)
    return "" if any(name in flat for name in names) else "names no file"


@pytest.mark.parametrize("kind", range(len(KINDS)), ids=[" ".join(kind) for kind in KINDS])
def test_damage_is_named_said_or_harmless(
    kind: int, sound: _Scenes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    seeds = range(kind * EACH, (kind + 1) * EACH)
    faults = [fault for seed in seeds if (fault := _fault(seed, sound))]
    assert not faults, "\n".join(faults)
    assert not (tmp_path / "owned").exists(), "a pickle ran its code"


def test_five_hundred_draws_meet_every_kind_of_file() -> None:
    assert EACH * len(KINDS) == DRAWS
    assert {scene for scene, _ in KINDS} == set(SCENES)


def _fault(seed: int, sound: _Scenes) -> str:
    """Return what is wrong with the answer to one damage; "" where nothing is."""
    scene, group, damage, rng = _draw(seed)
    root = sound.restored(scene.name)
    paths = sorted(path for path in root.glob(scene.groups[group]) if path.is_file())
    path = paths[int(rng.integers(len(paths)))]
    damage(path, rng)
    on_error = ("stop", "skip")[int(rng.integers(2))]
    what = f"draw {seed}: {scene.name}, {path.relative_to(root)}, {damage.__name__}, {on_error}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLACE_BENCH_CACHE", str(root / "cache"))
        try:
            reading = scene.read(root, on_error)
        except PlaceBenchError as error:
            complaint = _complaint(error, path)
            if damage in SAME:
                complaint = "refuses what means the same"
            return f"{what}: the sentence {complaint}: {error}" if complaint else ""
        except Exception as error:
            return f"{what}: {type(error).__name__}: {str(error)[:300]}"
    same = reading.digest == sound.readings[scene.name].digest
    if damage in SAME and not same:
        return f"{what}: means the same and is read as something else. Said: {reading.said[:300]}"
    news = reading.said != sound.readings[scene.name].said
    return "" if same or news else f"{what}: another content in silence"
