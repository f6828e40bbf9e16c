"""Notes are counted, with the first few names."""

from elman.data.notes import FileNotes


def test_a_note_stands_once_with_the_first_names() -> None:
    notes = FileNotes()
    assert not notes and notes.lines() == []
    named = [notes.add("clipped", f"{n}.wav") for n in range(1000)]
    assert named == [True] * 3 + [False] * 997
    notes.update(["clipped", "quiet"], "0.wav")  # read again
    assert notes.lines() == ["1,000 files: clipped (0.wav, 1.wav, 2.wav and 997 more)", "1 file: quiet (0.wav)"]
    assert notes.others() == ["997 files more: clipped"]
    notes.clear()
    assert not notes


def test_many_kinds_of_notes_are_counted() -> None:
    notes = FileNotes()
    notes.update(map(str, range(25)), "a.wav")
    assert notes.lines()[-2:] == ["1 file: 19 (a.wav)", "and 5 more notes"]
