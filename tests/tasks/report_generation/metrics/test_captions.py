"""Captioning metrics equal pycocoevalcap's; Java that is missing, crashes, hangs or answers
nonsense is a stated result."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge

from tasks.report_generation.metrics import captions, java
from tasks.report_generation.metrics.counting import caption_counts
from tasks.report_generation.settings import ReportSettings

WORDS = (
    "the",
    "heart",
    "is",
    "normal",
    "no",
    "pleural",
    "effusion",
    "or",
    "pneumothorax",
    "lungs",
    "clear",
    "opacity",
    "enlarged",
)
HAS_JAVA = java.shutil.which("java") is not None
needs_java = pytest.mark.skipif(not HAS_JAVA, reason="no Java on this machine")


def pairs(n: int = 24, seed: int = 0) -> list[list[str]]:
    rng = random.Random(seed)
    texts = [
        [" ".join(rng.choices(WORDS, k=rng.randint(1, 25))) for _ in range(n)] for _ in range(2)
    ]
    texts[0][0] = texts[1][0]
    return texts


def ones(n: int) -> np.ndarray:
    return np.ones((1, n))


def test_bleu_rouge_and_cider_equal_pycocoevalcap() -> None:
    hypotheses, references = pairs()
    hypotheses[3] = ""
    given = ({i: [text] for i, text in enumerate(texts)} for texts in (references, hypotheses))
    wanted, found = given
    counts = captions.bleu_counts(hypotheses, references)
    ours = [captions.bleu(counts, order)(ones(24))[0] for order in (1, 2, 3, 4)]
    np.testing.assert_allclose(ours, Bleu(4).compute_score(wanted, found, verbose=0)[0], rtol=1e-12)
    np.testing.assert_allclose(
        captions.rouge_l(hypotheses, references).mean(),
        Rouge().compute_score(wanted, found)[0],
        rtol=1e-12,
    )
    np.testing.assert_allclose(
        captions.cider(hypotheses, references), Cider().compute_score(wanted, found)[1], rtol=1e-12
    )


def test_a_weight_of_two_is_a_report_twice() -> None:
    hypotheses, references = pairs(8)
    weights = np.array([[2, 1, 0, 3, 1, 1, 0, 1]])
    rows = np.repeat(np.arange(8), weights[0])
    for order in (1, 4):
        counts = captions.bleu_counts(hypotheses, references)
        again = captions.bleu_counts([hypotheses[r] for r in rows], [references[r] for r in rows])
        np.testing.assert_allclose(
            captions.bleu(counts, order)(weights), captions.bleu(again, order)(ones(len(rows)))
        )


def test_empty_texts_have_stated_scores() -> None:
    counts = captions.bleu_counts(["", "a b"], ["no effusion", ""])
    assert captions.bleu(counts[:1], 4)(ones(1))[0] < 1e-6
    np.testing.assert_array_equal(captions.rouge_l(["", "a", ""], ["a b", "", ""]), [0, 0, 0])
    np.testing.assert_array_equal(captions.cider(["", "b"], ["a b", "a b c d e"])[:1], [0])
    assert captions.cider([], []).shape == (0,)


@needs_java
def test_tokens_and_meteor_equal_pycocoevalcap() -> None:
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    texts = ["No effusion (small), 1.5 cm.", "Émphysème naïve - it's fine!", "T-tube; left/right?"]
    theirs = PTBTokenizer().tokenize({i: [{"caption": text}] for i, text in enumerate(texts)})
    assert [" ".join(words) for words in java.tokenize(texts)] == [theirs[i][0] for i in range(3)]

    hypotheses, references = pairs()
    hypotheses[3], hypotheses[4] = "", "naïve é"
    statistics = java.meteor_statistics(hypotheses, references)
    line = "EVAL ||| " + " ||| ".join(" ".join(map(str, row)) for row in statistics)
    command = [
        java.java_command(),
        "-Duser.language=en",
        "-jar",
        str(java.jar(java.METEOR)),
        "-",
        "-",
        "-stdio",
        "-l",
        "en",
        "-norm",
    ]
    answer = (
        subprocess.run(command, input=(line + "\n").encode(), capture_output=True, check=True)
        .stdout.decode()
        .split()
    )
    np.testing.assert_allclose(
        captions.meteor(statistics)(np.eye(24)), np.array(answer[:24], float), atol=1e-12
    )
    np.testing.assert_allclose(
        captions.meteor(statistics)(ones(24))[0], float(answer[24]), atol=1e-12
    )


@needs_java
def test_odd_white_space_long_and_foreign_texts_stay_aligned() -> None:
    long = " ".join(f"word{number}" for number in range(2000))
    texts = ["a\nb\rc\u2028d\x85e", "", "\u2028", "ж ä 肺", long]
    tokens = java.tokenize(texts)
    assert (
        tokens[0] == list("abcde")
        and tokens[1] == tokens[2] == []
        and len(tokens[4]) == 2000
        and tokens[3][0] == "ж"
    )
    joined = [" ".join(words) for words in tokens]
    found = captions.meteor(java.meteor_statistics(joined, joined))(np.eye(5))
    assert found[1] == found[2] == 0 and found[4] == pytest.approx(1, abs=0.01)


def test_meteor_sees_the_first_words_of_a_long_report(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def run(place: Any, words: Any, lines: list[str], timeout: Any, options: Any = ()) -> list[str]:
        seen.extend(lines)
        return ["0 " * 23] * len(lines)

    monkeypatch.setattr(java, "run", run)
    monkeypatch.setattr(java, "tokenize", lambda texts, timeout: [text.split() for text in texts])
    _, facts = caption_counts(["a ||| b", "w " * 2000], ["c", "d"], ReportSettings())
    assert seen[0] == "SCORE ||| c ||| a b" and len(seen[1].split()) == 4 + java.METEOR_WORDS
    assert facts == {"note:meteor": "METEOR saw the first 250 words of 1 longer texts."}


def fake(folder: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """Put a program called java before the real one."""
    path = folder / "bin" / "java"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!{sys.executable}\nimport sys, time\n{body}\n")
    path.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(folder))
    java.java_command.cache_clear()


@pytest.fixture(autouse=True)
def _forget_java() -> Iterator[None]:
    java.java_command.cache_clear()
    yield
    java.java_command.cache_clear()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "sys.stderr.write('OutOfMemoryError\\n'); sys.exit(3)",
            r"stopped after 0 of 2 texts \(code 3\): OutOfMemoryError",
        ),
        ("print('no')", "stopped after 1 of 2 texts"),
        ("print('no'); print('number')", "answered with something else than 23 numbers"),
    ],
)
def test_a_program_that_fails_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, message: str
) -> None:
    fake(tmp_path, monkeypatch, body)
    with pytest.raises(java.JavaError, match=message):
        java.meteor_statistics(["a", "b"], ["a", "b"])


def test_a_program_that_hangs_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(tmp_path, monkeypatch, "time.sleep(60)")
    with pytest.raises(java.JavaError, match="took over 1 s for 1 texts"):
        java.tokenize(["a"], timeout=1)


def test_without_java_only_what_needs_it_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    arrays, facts = caption_counts(["a ."], ["a ."], ReportSettings())
    assert arrays == {} and "Java was not found" in facts["missing:captions"]
    arrays, facts = caption_counts(["a ."], ["a ."], ReportSettings(tokenizer="cleaned"))
    assert (
        set(arrays) == {"bleu", "rouge_l", "cider"}
        and "METEOR is missing: Java was not found" in facts["missing:meteor"]
    )
