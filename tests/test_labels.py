"""Answers of interpreters: nothing acknowledged is lost, nothing torn is counted, nothing foreign is overwritten."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mlc_dask.data.errors import InputError
from mlc_dask.io.labels import COLUMNS, Answer, Labels, check_name, interpreters_of, labels_file, read_labels

HEADER = ",".join(COLUMNS) + "\n"
TIME = "2026-03-01T10:00:00.000+00:00"


def write(folder: Path, text: str, name: str = "anna") -> Path:
    path = labels_file(folder, name)
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_later_rows_replace_earlier_ones(tmp_path: Path) -> None:
    with Labels(tmp_path, "anna") as labels:
        labels.add("7", {2018: Answer(3), 2019: Answer(4, 0)})
        labels.add("a,b", {2018: Answer(0)})
        labels.add("7", {2018: Answer(5), 2019: Answer(4)})
        expected = {("7", 2018): Answer(5), ("7", 2019): Answer(4), ("a,b", 2018): Answer(0)}
        assert labels.answers == read_labels(labels.path) == expected
    text = labels.path.read_text(encoding="utf-8")
    assert text.startswith(HEADER + "7,2018,3,1,20") and text.count("\n") == 6, "no row is ever removed"
    with Labels(tmp_path, "anna") as again:
        assert again.answers == expected
    assert labels.path.read_text(encoding="utf-8") == text
    assert interpreters_of(tmp_path) == ["anna"]


ROWS = f"p1,2018,3,1,{TIME}\np1,2019,3,1,{TIME}\n"
FIRST = {("p1", 2018): Answer(3), ("p1", 2019): Answer(3)}


TORN = [b"p2,2018,4,1,"[:n] for n in range(1, 13)] + [b"p2,2018,4,1,2026-0", bytes(40), b"p2,2018,\xd8"]


@pytest.mark.parametrize("torn", TORN)
def test_a_torn_last_line_is_cut_off(tmp_path: Path, torn: bytes) -> None:
    path = write(tmp_path, HEADER + ROWS)
    with path.open("ab") as file:
        file.write(torn)
    assert read_labels(path) == FIRST
    with Labels(tmp_path, "anna") as labels:
        assert labels.answers == FIRST
        labels.add("p3", {2018: Answer(1)})
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[:3] == (HEADER + ROWS).splitlines() and len(lines) == 4 and lines[3].startswith("p3,2018,1,1,")


def test_a_whole_last_line_is_kept(tmp_path: Path) -> None:
    """As editors leave it that end no last line."""
    path = write(tmp_path, HEADER + ROWS.rstrip("\n"))
    assert read_labels(path) == FIRST
    with Labels(tmp_path, "anna"):
        assert path.read_text(encoding="utf-8") == HEADER + ROWS


@pytest.mark.parametrize("cut", range(len(HEADER)))
def test_a_torn_header_is_written_again(tmp_path: Path, cut: int) -> None:
    path = write(tmp_path, HEADER[:cut])
    with Labels(tmp_path, "anna") as labels:
        assert labels.answers == {}
    assert path.read_text(encoding="utf-8") == HEADER


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (f"{HEADER}p1,2018,3,1\n{ROWS}", r"line 2: 'p1,2018,3,1' is no answer"),
        (f"{HEADER}{ROWS}p1,2018,crops,1,{TIME}\n", "line 4: .* correct or remove the line"),
        (f"{HEADER}p1,2018,3,1,yesterday\n", "line 2"),
    ],
)
def test_other_files_are_refused_and_left_alone(tmp_path: Path, text: str, fault: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(InputError, match=fault), Labels(tmp_path, "anna"):
        pass
    with pytest.raises(InputError, match=fault):
        read_labels(path)
    assert path.read_text(encoding="utf-8") == text


@pytest.mark.parametrize("text", ["my notes", "id;year;class;confidence;time\n", "id,year,class\n1,2018,3\n"])
def test_only_files_of_ours_take_answers(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, text)
    with (
        pytest.raises(InputError, match="its first line is not id,year,class,confidence,time"),
        Labels(tmp_path, "anna"),
    ):
        pass
    assert path.read_text(encoding="utf-8") == text


@pytest.mark.parametrize("text", ["id,year,class\n7,2018,3\n8,2018,", "year;class;id;note\n2018;3;7;oak\n2018.0;;8;\n"])
def test_tables_of_other_programs_are_read(tmp_path: Path, text: str) -> None:
    """Their last line may lack its end, and their classes may be empty."""
    assert read_labels(write(tmp_path, text)) == {("7", 2018): Answer(3), ("8", 2018): Answer(0)}


BAD = ["", ".", "..", "../anna", "a/b", "/etc/passwd", "a b", "änna", "a.b", "a\n", "x" * 65]


@pytest.mark.parametrize("name", BAD)
def test_names_are_no_paths(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="is no name of an interpreter; use up to 64"):
        Labels(tmp_path, name)
    assert not (tmp_path / "labels").exists()


def test_names_that_are_taken_as_they_are() -> None:
    assert [check_name(n) for n in ("anna", "B_2", "x-1", "-")] == ["anna", "B_2", "x-1", "-"]


def test_one_process_holds_a_file_and_others_hold_theirs(tmp_path: Path) -> None:
    with Labels(tmp_path, "anna"):
        with pytest.raises(InputError, match="is being written by another process"), Labels(tmp_path, "anna"):
            pass
        with Labels(tmp_path, "ben"):
            pass
    with Labels(tmp_path, "anna"):
        pass


def test_a_full_disk_leaves_no_part_of_an_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Labels(tmp_path, "anna") as labels:
        labels.add("p1", {2018: Answer(3)})
        before, write_ = labels.path.read_bytes(), os.write
        monkeypatch.setattr(os, "write", lambda file, data: write_(file, data[:9]))
        with pytest.raises(OSError, match="free space on its disk"):
            labels.add("p2", {2018: Answer(4)})
        assert labels.path.read_bytes() == before and ("p2", 2018) not in labels.answers
        monkeypatch.setattr(os, "write", write_)
        labels.add("p2", {2018: Answer(4)})
    assert read_labels(labels.path)["p2", 2018] == Answer(4)


def test_a_file_that_was_replaced_takes_no_answers_silently(tmp_path: Path) -> None:
    with Labels(tmp_path, "anna") as labels:
        labels.path.rename(tmp_path / "old.csv")
        labels.path.write_text(HEADER, encoding="utf-8")
        with pytest.raises(OSError, match="was replaced by another program"):
            labels.add("p1", {2018: Answer(3)})


WRITER = """
import sys
from pathlib import Path
from mlc_dask.io.labels import Answer, Labels
with Labels(Path(sys.argv[1]), "anna") as labels:
    for n in range(100_000):
        labels.add(f"p{n}", {2018: Answer(n % 7), 2019: Answer(n % 5)})
        print(n, flush=True)
"""


def test_a_killed_writer_loses_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = [process.stdout.readline() for _ in range(200)]
        process.send_signal(signal.SIGKILL)
        told += process.stdout.readlines()
    last = int(next(line for line in reversed(told) if line.endswith("\n")))
    with Labels(tmp_path, "anna") as labels:
        for n in range(last + 1):
            assert labels.answers[f"p{n}", 2018] == Answer(n % 7) and labels.answers[f"p{n}", 2019] == Answer(n % 5)
