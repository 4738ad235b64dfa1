"""Reports as sentences and tokens."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from backbones.shared.encoders.text import (
    build_text_encoder,
    load_text_encoder,
    pool_sentences,
    pool_tokens,
    text_config,
)
from backbones.shared.encoders.tokens import (
    normalise,
    published_sentences,
    sentence_key,
    split_sentences,
)
from backbones.shared.encoders.vocabulary import Vocabulary, collate
from backbones.shared.pretraining.settings import MethodSettings
from bench.core.errors import MissingDependencyError, PlaceBenchError

REPORTS = [
    "There is a 1.5 cm nodule in the right lung. No pneumothorax.",
    "No pleural effusion. Heart size is normal.",
] * 3
LIMITS = {"max_tokens": 24, "max_sentences": 3, "min_words": 2}


@pytest.mark.parametrize(
    "report, expected",
    [
        ("A 1.5 cm nodule. No effusion.", ["A 1.5 cm nodule.", "No effusion."]),
        ("1. No acute process. 2. Stable nodule.", ["No acute process.", "Stable nodule."]),
        (
            "Discussed with Dr. Hale at 3 p.m. today. Clear.",
            ["Discussed with Dr. Hale at 3 p.m. today.", "Clear."],
        ),
        ("Nodule is 4 cm. Heart is normal.", ["Nodule is 4 cm.", "Heart is normal."]),
        ("Larger vs. prior\nfilm. stable  heart", ["Larger vs. prior film.", "stable heart"]),
        ("No effusion!! Is there edema? No.", ["No effusion!!", "Is there edema?", "No."]),
        ("___. \n . Lungs are clear", ["Lungs are clear"]),
        ("", []),
    ],
)
def test_sentences(report: str, expected: list[str]) -> None:
    assert split_sentences(report) == expected


@pytest.mark.parametrize(
    "report, expected",
    [
        (
            "No effusion.\n1. Clear.\n2. Nodule of 1.5 cm.",
            ["no effusion", "nodule of", "5 cm"],
        ),
        ("Heart size\nis normal", ["heart size is normal"]),
        ("Stable. Unchanged. Normal.", []),
        ("No\ufffd\ufffdfocal opacity; lungs - clear!", ["no focal opacity lungs clear"]),
        ("Gr\xf6\xdfe of the\u2013heart", ["gre of the heart"]),
        ("\u80ba\u708e \u80ba", []),
        ("\u80ba\u708e clear", ["clear"]),  # a sentence of two words, one of them not ASCII
        ("12. Small 3. effusion is 10.25 mm", ["effusion is", "25 mm"]),
        ("", []),
    ],
)
def test_sentences_as_the_published_codes_cut_them(report: str, expected: list[str]) -> None:
    assert published_sentences(report) == expected


@given(st.text(alphabet="ab1. \n\ufffd\u2013\xe9", max_size=40))
def test_published_sentences_equal_a_plain_reading(report: str) -> None:
    """Newline to blank, split at digits and full stop, then at full stops, then words."""
    expected = []
    for point in re.split("[0-9]+\\.", report.replace("\n", " ")):
        for sentence in point.split("."):
            words = re.findall(r"\w+", sentence.replace("\ufffd\ufffd", " ").lower())
            words = [word.encode("ascii", "ignore").decode() for word in words if len(words) > 1]
            expected += [" ".join(filter(None, words))] if any(words) else []
    assert published_sentences(report) == expected


@given(st.text(max_size=200))
def test_no_word_is_lost_but_list_numbers(report: str) -> None:
    kept = normalise(" ".join(split_sentences(report))).split()
    everything = normalise(" ".join(report.split())).split()
    assert [word for word in everything if not word.isdigit()] == [
        word for word in kept if not word.isdigit()
    ]


def test_same_sentence_same_key() -> None:
    assert sentence_key("No pleural  effusion.") == sentence_key("no Pleural effusion")
    assert sentence_key("No pleural effusion.") != sentence_key("Pleural effusion.")
    assert 0 <= sentence_key("x") < 2**63


def test_vocabulary_is_the_same_in_another_process(tmp_path: Path) -> None:
    code = (
        "from backbones.shared.encoders.vocabulary import Vocabulary; "
        f"print(chr(10).join(Vocabulary.train({REPORTS!r}, 120).pieces))"
    )
    other = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    own = Vocabulary.train(REPORTS[::-1], 120)
    assert other.splitlines() == own.pieces
    own.save(tmp_path / "vocab.txt")
    assert Vocabulary.load(tmp_path / "vocab.txt").pieces == own.pieces


def test_encoding_marks_sentences() -> None:
    vocabulary = Vocabulary.train(REPORTS, 120)
    encoded = vocabulary.encode(
        "No pneumothorax. Normal. Heart size is normal.",
        max_tokens=50,
        max_sentences=5,
        min_words=2,
    )
    assert encoded.keys == (sentence_key("No pneumothorax."), sentence_key("Heart size is normal."))
    assert encoded.ids[0] == vocabulary.start and encoded.ids[-1] == vocabulary.end
    marks = list(encoded.sentence)
    assert marks[0] == marks[-1] == -1 and sorted(set(marks)) == [-1, 0, 1]
    assert marks[1:-1] == sorted(
        marks[1:-1], key=[0, -1, 1].index
    )  # "Normal." stands between the two, as no unit


def test_encoding_respects_its_limits() -> None:
    vocabulary = Vocabulary.train(REPORTS, 120)
    encoded = vocabulary.encode(" ".join(REPORTS * 4), **LIMITS)
    assert len(encoded.ids) == 24 and len(encoded.keys) <= 3
    assert max(encoded.sentence) == len(encoded.keys) - 1
    empty = vocabulary.encode("", **LIMITS)
    assert empty.ids == (vocabulary.start, vocabulary.end) and empty.keys == ()


def test_padding_changes_nothing() -> None:
    vocabulary = Vocabulary.train(REPORTS, 120)
    encoder = build_text_encoder(
        text_config(MethodSettings(text_width=32, text_layers=1), len(vocabulary))
    ).eval()
    short, long = (
        vocabulary.encode(text, max_tokens=60, max_sentences=4, min_words=2) for text in REPORTS[:2]
    )
    alone, together = collate([short], vocabulary.pad), collate([short, long, long], vocabulary.pad)
    with torch.no_grad():
        first, second = encoder(alone), encoder(together)
    width = alone.ids.shape[1]
    torch.testing.assert_close(first[0], second[0, :width], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(
        pool_tokens(first, alone.mask)[0],
        pool_tokens(second, together.mask)[0],
        atol=1e-5,
        rtol=1e-5,
    )
    pooled = pool_sentences(first, alone)[0]
    for number in range(len(short.keys)):
        torch.testing.assert_close(pooled[number], first[0][alone.sentence[0] == number].mean(0))


def test_collate_without_any_sentence() -> None:
    vocabulary = Vocabulary.train(REPORTS, 120)
    batch = collate([vocabulary.encode("Normal.", **LIMITS)], vocabulary.pad)
    assert batch.keys.tolist() == [[-1]] and not batch.sentence_mask.any()


def test_local_bert_gives_its_first_layers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from transformers import BertConfig, BertModel

    vocabulary = Vocabulary.train(REPORTS, 120)
    sizes = {
        "hidden_size": 32,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "num_hidden_layers": 4,
    }
    BertModel(BertConfig.from_dict({**sizes, "vocab_size": len(vocabulary)})).save_pretrained(
        tmp_path
    )
    with pytest.raises(MissingDependencyError, match=r"lacks vocab\.txt.*text_model=PATH"):
        load_text_encoder(tmp_path, 2)
    vocabulary.save(tmp_path / "vocab.txt")
    whole = BertModel.from_pretrained(
        tmp_path, local_files_only=True, add_pooling_layer=False
    ).eval()
    encoder, loaded = load_text_encoder(tmp_path, 2)
    said = " ".join(capsys.readouterr().err.split())
    assert "the first 2 of 4 layers of" in said and "text_layers=2" in said
    batch = collate(
        [loaded.encode(REPORTS[0], max_tokens=60, max_sentences=4, min_words=2)], loaded.pad
    )
    with torch.no_grad():
        expected = whole(input_ids=batch.ids, output_hidden_states=True).hidden_states[2]
        torch.testing.assert_close(encoder.eval()(batch), expected, atol=1e-5, rtol=1e-5)


def test_vocabulary_that_is_no_bert_vocabulary_is_refused(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("a\nb\n")
    with pytest.raises(PlaceBenchError, match="lacks"):
        Vocabulary.load(tmp_path / "vocab.txt")
    with pytest.raises(PlaceBenchError, match="does not exist"):
        Vocabulary.load(tmp_path / "none.txt")
