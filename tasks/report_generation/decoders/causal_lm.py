"""A language model of a local folder that gets the image as a prefix."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench.contracts import Body
from bench.core.errors import SettingError
from tasks.report_generation.decoders import DECODERS, Decoder
from tasks.report_generation.settings import ReportSettings


@dataclass(frozen=True)
class CausalLmSettings(ReportSettings):
    """What `decoder=causal_lm` has beside the settings of the kind."""

    causal_lm: str = ""
    """Folder of the language model (Hugging Face: config, tokenizer, safetensors)."""
    causal_lm_trained: bool = False
    """Whether the language model is trained too; false trains the prefix alone."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.decoder != "causal_lm":  # before --set is read
            return
        if not (self.causal_lm and Path(self.causal_lm).is_dir()):
            raise SettingError(
                f"causal_lm is '{self.causal_lm}', not a folder.",
                "Name a folder with config.json and weights.",
            )
        if self.reference == "decoded":
            raise SettingError(
                "reference=decoded needs a vocabulary of the training split.", "Use reference=full."
            )


DECODERS.add(
    "causal_lm",
    Decoder(
        "a language model that gets the image as a prefix",
        Body("tasks.report_generation.causal_lm:build"),
        CausalLmSettings,
        Body("tasks.report_generation.causal_lm:vocabulary"),
    ),
)
