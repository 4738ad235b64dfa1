"""What a look was asked for. Imports no torch."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from backbones.shared.encoders.architectures import resolve_architecture
from bench.cells.request import RunRequest, check_request, head_settings
from bench.contracts import KINDS, TASKS, needs_of
from bench.core.errors import SettingError
from bench.core.registry import load_plugins
from bench.core.settings import parse_list, parse_pairs
from bench.data.annotations import Boxes, Masks

OUTLINED = (Boxes, Masks)
ABOUT = """Pictures and figures of where encoders with a text side read a finding.

Per encoder: `<name>_attention.png`, test images with their lesions, the map of the asked finding
and, for PLACE, the observations that count most for it; `<name>_cosine.png`, how alike the
observations of an image are. For all together: `pointing.md` and `pointing.csv`, how often the
peak of the finding's map lies in the lesion, beside two baselines that see no image;
`embedding.png`, a t-SNE of the embeddings of the test images.

Missing checkpoints of the demo profile are trained first, as in `place-bench run`. Nothing is
tuned here, and the images shown are chosen by finding, not by score.
"""


@dataclass(frozen=True)
class Look:
    """What was asked for: `request` names one task and the encoders; `prompt` has {} for the
    finding, said as in `said`."""

    request: RunRequest
    images: int
    prompt: str
    said: Mapping[str, str]

    @property
    def out(self) -> Path:
        """Return the folder that is written to."""
        return self.request.results

    def prompts(self, names: Sequence[str]) -> list[str]:
        """Return the text that asks for each finding."""
        return [self.prompt.format(self.said.get(name) or _phrase(name)) for name in names]


def _phrase(name: str) -> str:
    return name.replace("_", " ").replace("/", " or ").lower()


def parse(arguments: Sequence[str]) -> Look:
    """Return what a command line asks for; raise SettingError for a task without outlines."""
    parser = _parser()
    options = parser.parse_args(arguments)
    load_plugins(options.plugin)
    names = tuple(
        dict.fromkeys(
            name for argument in options.backbones for name in parse_list(argument, str, "BACKBONE")
        )
    )
    if options.images < 1 or "{}" not in options.prompt:
        raise SettingError(
            f"--images {options.images}, --prompt '{options.prompt}'.",
            "Show at least 1; the prompt needs {}.",
        )
    _check_task(options.task)
    side = resolve_architecture(options.profile, options.arch).input.resize
    request = RunRequest(
        (options.task,),
        backbones=names,
        profile=options.profile,
        architecture=options.arch,
        settings={
            "image_size": str(side)
        },  # what encoders are trained on, whatever size the task's own heads take
        checkpoints={
            name: Path(path)
            for name, path in parse_pairs(options.checkpoint, "--checkpoint NAME=PATH").items()
        },
        device=options.device,
        data_root=options.data_root,
        results=options.out,
    )
    check_request(request)
    return Look(
        request, options.images, options.prompt, parse_pairs(options.say, "--say FINDING=WORDS")
    )


def _check_task(name: str) -> None:
    if not _is_outlined(name):
        able = ", ".join(task for task in TASKS.names() if _is_outlined(task))
        raise SettingError(f"task '{name}' has neither boxes nor masks.", f"These have: {able}.")


def _is_outlined(name: str) -> bool:
    """Say whether a task comes with boxes or masks of findings."""
    task = TASKS.get(name)
    settings = head_settings(task, RunRequest(tasks=(name,)))
    needs = needs_of(KINDS.get(task.kind), settings)
    return any(isinstance(annotation, OUTLINED) for annotation in needs)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m backbones.studies.look",
        description=ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Examples:\n  python -m backbones.studies.look place gloria mgca convirt\n"
        "  python -m backbones.studies.look place --task siim_seg --images 4\n"
        "  python -m backbones.studies.look place --profile paper --data-root DATA --say "
        "'ILD=interstitial lung disease'",
    )
    parser.add_argument(
        "backbones",
        nargs="+",
        metavar="BACKBONE",
        help="encoders with a text side; `place-bench list backbones`",
    )
    parser.add_argument(
        "--task",
        default="vindr_det",
        help="a task on a dataset with boxes or masks (default: vindr_det)",
    )
    parser.add_argument("--images", type=int, default=6, help="images per picture (default: 6)")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("results/look"),
        help="folder to write to (default: results/look)",
    )
    parser.add_argument(
        "--prompt",
        default="There is {}.",
        help="how a finding is asked for (default: 'There is {}.')",
    )
    parser.add_argument(
        "--say",
        action="append",
        default=[],
        metavar="FINDING=WORDS",
        help="other words for a finding; repeat",
    )
    parser.add_argument(
        "--profile",
        default="demo",
        choices=("demo", "paper"),
        help="encoders and sizes (default: demo)",
    )
    parser.add_argument(
        "--arch", default="", help="resnet, vit or a full name (default: the profile's)"
    )
    parser.add_argument(
        "--checkpoint",
        action="append",
        default=[],
        metavar="NAME=PATH",
        help="weights of an encoder; repeat",
    )
    parser.add_argument(
        "--data-root",
        type=Path,
        help="folder of the datasets (default: $PLACE_BENCH_DATA, else the demo)",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    parser.add_argument(
        "--plugin",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="Python file that registers encoders",
    )
    return parser
