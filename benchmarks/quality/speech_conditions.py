"""Recordings of a table under other conditions: softer, or several in one file.

python benchmarks/quality/speech_conditions.py TABLE FOLDER --decibels -20
python benchmarks/quality/speech_conditions.py TABLE FOLDER --join 100
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import soundfile

from elman.data.media.audio import read_sound
from elman.data.speech.readers import read_transcripts


def main() -> None:
    """Write FOLDER/table.tsv and its files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--decibels", type=float, default=0.0)
    parser.add_argument("--join", type=int, default=1)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True)
    rows = ["path\ttext", *changed(arguments.table, arguments.folder, arguments.decibels, arguments.join)]
    (arguments.folder / "table.tsv").write_text("\n".join(rows) + "\n")


def changed(table: Path, folder: Path, decibels: float, join: int) -> Iterator[str]:
    """Write the files, 16 bits a sample, and yield their rows."""
    rows = read_transcripts(table)
    for number, group in enumerate(iter(lambda: list(islice(rows, join)), [])):
        sounds = [read_sound(row.source) for row in group if isinstance(row.source, Path)]
        samples = np.concatenate([sound.samples for sound in sounds]) * 10 ** (decibels / 20)
        soundfile.write(folder / f"{number}.wav", samples, sounds[0].rate, subtype="PCM_16")
        yield f"{number}.wav\t{' '.join(row.text for row in group)}"


if __name__ == "__main__":
    main()
