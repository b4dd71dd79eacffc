"""Writes a report on texts: how long, how hard to read, which words stand out. As Markdown."""

# Import modules here, at the top: at run time there are no files to import from.
import json
import re
import statistics
from collections import Counter

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import host
from wit_world.imports.types import Failure, FailureKind

WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
SENTENCE_END = re.compile(r"[.!?…]+[\"'”’)\]]*(?:\s+|$)")
WORDS_A_MINUTE = 230  # how fast people read: Brysbaert 2019
KEYWORD_LETTERS = 5  # shorter words are mostly grammar
KEYWORDS = 5


class Job(exports.Job):
    def run(self, input: str) -> str:
        title, texts = read(input)
        rows, words_of_all = [], Counter()
        for done, (name, text) in enumerate(texts.items()):
            host.progress(done / len(texts), f"reading {name}")
            # Printed text is logged with the task.
            print(f"{name}: {len(text)} characters")
            words = [word.lower() for word in WORD.findall(text)]
            words_of_all.update(words)
            rows.append(measure(name, text, words))
        host.progress(1.0, "done")
        return write(title, rows, words_of_all)


def read(input):
    """Returns title and texts; says what is wrong if there are none."""
    asked = json.loads(input)
    texts = asked.get("texts") if isinstance(asked, dict) else None
    if not isinstance(texts, dict) or not texts or not all(isinstance(text, str) for text in texts.values()):
        message = 'the input must be like {"title": "…", "texts": {"name": "text"}}'
        raise Err(Failure(FailureKind.INVALID_INPUT, message, None))
    return str(asked.get("title", "Report")), texts


def measure(name, text, words):
    sentences = [sentence for sentence in SENTENCE_END.split(text) if WORD.search(sentence)]
    lengths = [len(WORD.findall(sentence)) for sentence in sentences]
    return {
        "text": name,
        "words": len(words),
        "sentences": len(sentences),
        "words a sentence": f"{statistics.median(lengths):g}" if lengths else 0,
        "longest": max(lengths, default=0),
        "letters a word": round(statistics.fmean(map(len, words)), 1) if words else 0,
        "minutes": round(len(words) / WORDS_A_MINUTE, 1),
        "stands out": keywords(Counter(words)),
    }


def keywords(words):
    long = Counter({word: times for word, times in words.items() if len(word) >= KEYWORD_LETTERS})
    most = sorted(long.items(), key=lambda item: (-item[1], item[0]))[:KEYWORDS]
    return ", ".join(f"{word} ({times})" for word, times in most)


def write(title, rows, words_of_all):
    heads = list(rows[0])
    lines = [f"# {cell(title)}", "", line(heads), line("---" for _ in heads)]
    lines += [line(row.values()) for row in rows]
    lines += ["", f"{sum(row['words'] for row in rows)} words in all; most of all: {keywords(words_of_all)}", ""]
    return "\n".join(lines)


def line(cells):
    return "| " + " | ".join(cell(text) for text in cells) + " |"


def cell(text):
    return " ".join(str(text).split()).replace("|", "\\|")
