"""What prompts are made of: passages of documents, seed tasks, placeholders; and which questions count as the same."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest
from pypdf import PdfWriter

from studio.config.generate import Documents, Seeds
from studio.config.workspace import Workspace
from studio.tasks.failures import TaskError
from studio.tasks.generating.documents import Passage, read_passages, split
from studio.tasks.generating.likeness import Asked
from studio.tasks.generating.requests import from_documents, from_seeds
from studio.tasks.generating.seeds import SeedTask, read_seeds
from tests.conftest import QUESTIONS


def write_pdf(path: Path, lines: list[str]) -> None:
    """A PDF of one page with these lines of text, as small as the format allows."""
    text = "BT /F1 12 Tf 72 720 Td 14 TL " + " ".join(f"({line}) Tj T*" for line in lines) + " ET"
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R"
        " /Resources << /Font << /F1 5 0 R >> >> >>",
        f"<< /Length {len(text)} >>\nstream\n{text}\nendstream",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    body, offsets = "%PDF-1.4\n", []
    for number, one in enumerate(objects, 1):
        offsets.append(len(body))
        body += f"{number} 0 obj\n{one}\nendobj\n"
    table = "".join(f"{offset:010d} 00000 n \n" for offset in offsets)
    end = f"trailer << /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{len(body)}\n%%EOF\n"
    path.write_text(f"{body}xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}{end}", encoding="latin-1")


def write_blank_pdf(path: Path, password: str = "") -> None:
    writer = PdfWriter()
    writer.add_blank_page(200, 200)
    if password:
        writer.encrypt(password, algorithm="RC4-128")
    with path.open("wb") as file:
        writer.write(file)


def read(root: Path, *paths: str, size: int = 2000) -> tuple[list[Passage], list[str]]:
    notices: list[str] = []
    return read_passages(Workspace(root), paths, size, 0, notices.append), notices


def test_text_markdown_and_pdf_are_read_and_what_cannot_be_is_named(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    (docs / "inner").mkdir(parents=True)
    (docs / ".hidden").mkdir()
    (docs / "a.txt").write_text("A text about rivers that is long enough to be asked about.", encoding="utf-8")
    (docs / "inner" / "b.md").write_text("# Tides\n\nA text about tides that is long enough.", encoding="utf-8")
    write_pdf(docs / "c.pdf", ["Bread rises because of yeast.", "Yeast makes gas from sugar."])
    write_blank_pdf(docs / "scanned.pdf")
    write_blank_pdf(docs / "locked.pdf", "secret")
    (docs / "broken.pdf").write_bytes(b"%PDF-1.4 and then nothing of the kind")
    (docs / "empty.md").write_text(" \n", encoding="utf-8")
    (docs / "latin.txt").write_bytes("Käse und Brot".encode("latin-1"))
    (docs / ".hidden" / "d.txt").write_text("Nobody sees this text, however long it may be.", encoding="utf-8")
    (docs / "picture.png").write_bytes(b"\x89PNG")

    passages, notices = read(tmp_path, "docs", "docs/a.txt")
    assert [passage.document for passage in passages] == ["docs/a.txt", "docs/c.pdf", "docs/inner/b.md"]
    assert "Bread rises because of yeast." in passages[1].text
    for name, reason in (
        ("scanned.pdf", "pictures"),
        ("locked.pdf", "encrypted"),
        ("broken.pdf", "no PDF"),
        ("empty.md", "empty"),
        ("latin.txt", "UTF-8"),
    ):
        assert any(f"docs/{name} was left out" in notice and reason in notice for notice in notices), notices
    assert len(notices) == 5


@pytest.mark.parametrize(
    ("paths", "reason"),
    [(["nowhere"], "There is no file or folder nowhere"), (["../x.txt"], "outside the workspace"),
     (["a.png"], "no text, Markdown or PDF"), (["empty"], "There is no text in empty")],
)  # fmt: skip
def test_paths_that_give_no_text_end_the_job_with_a_sentence(tmp_path: Path, paths: list[str], reason: str) -> None:
    (tmp_path / "root" / "empty").mkdir(parents=True)
    (tmp_path / "root" / "a.png").touch()
    (tmp_path / "x.txt").write_text("Outside, and long enough to be read by accident.", encoding="utf-8")
    with pytest.raises(TaskError, match=reason):
        read(tmp_path / "root", *paths)


def test_links_that_lead_out_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "root" / "docs").mkdir(parents=True)
    (tmp_path / "secret.txt").write_text("A secret that lies outside and is long enough to matter.", encoding="utf-8")
    (tmp_path / "root" / "docs" / "a.txt").write_text("A text inside that is long enough to be read.", encoding="utf-8")
    (tmp_path / "root" / "docs" / "link.txt").symlink_to(tmp_path / "secret.txt")
    passages, notices = read(tmp_path / "root", "docs")
    assert [passage.document for passage in passages] == ["docs/a.txt"]
    assert "link.txt" in notices[0]


@pytest.mark.parametrize(("size", "overlap"), [(200, 0), (200, 60), (333, 100), (5000, 500)])
def test_passages_cover_the_text_and_end_where_sentences_do(size: int, overlap: int) -> None:
    sentences = [f"Sentence number {number} says little." for number in range(120)]
    paragraphs = [" ".join(sentences[start : start + 6]) for start in range(0, 120, 6)]
    passages = split("\n\n".join(paragraphs), size, overlap)
    assert all(0 < len(passage) <= size for passage in passages)
    assert all(any(sentence in passage for passage in passages) for sentence in sentences)
    assert all(passage.endswith(".") for passage in passages)
    again = sum(len(passage) for passage in passages) - len("\n\n".join(paragraphs))
    assert again <= overlap * len(passages)


def test_text_without_any_border_is_cut_all_the_same() -> None:
    passages = split("x" * 1000, 300, 50)
    assert all(len(passage) <= 300 for passage in passages)
    assert sum(len(passage) for passage in passages) >= 1000


def test_requests_are_the_same_ones_again_and_differ_among_themselves() -> None:
    tasks = [SeedTask(f"Person: {number}", str(number)) for number in range(10)]
    first, second = (list(islice(from_seeds(Seeds(dataset="x"), tasks, 7), 20)) for _ in range(2))
    assert first == second
    assert len({ask.key for ask in first}) == 20 and len({ask.material for ask in first}) > 15
    assert [ask.material for ask in islice(from_seeds(Seeds(dataset="x"), tasks, 8), 20)] != [
        ask.material for ask in first
    ]

    source = Documents(paths=["x"], rounds=2)
    passages = [Passage("x.md", number, f"Text {number}") for number in range(1, 6)]
    asks = list(from_documents(source, passages, 7))
    assert len({ask.key for ask in asks}) == 10
    assert {ask.passage for ask in asks[:5]} == {passage.text for passage in passages}
    assert "x.md" in asks[0].material and asks[0].passage in asks[0].material


def test_braces_of_the_material_are_not_taken_for_placeholders() -> None:
    (ask,) = from_documents(Documents(paths=["x"]), [Passage("x.md", 1, "Write {count} or {turns}, {name}?")], 7)
    from studio.config.generate import QuestionAnswer

    assert "Write {count} or {turns}, {name}?" in ask.prompt(QuestionAnswer(), 3)
    assert "Write 3 rows" in ask.prompt(QuestionAnswer(), 3)


def test_seed_tasks_come_from_datasets_of_any_kind_and_from_files(data_workspace: Path) -> None:
    def read_from(**source: str) -> tuple[list[SeedTask], list[str]]:
        notices: list[str] = []
        return read_seeds(Workspace(data_workspace), Seeds(**source), notices.append), notices

    question, answer = QUESTIONS[0]
    assert read_from(dataset="chat")[0][0] == SeedTask(f"Person: {question}\nAssistant: {answer}", question)
    assert read_from(dataset="turns")[0][0].text.startswith("System: Answer shortly.\nPerson: ")
    assert read_from(dataset="plain")[0][0].question == f"{question} {answer}"
    assert read_from(file="data/chat.json")[0] == read_from(dataset="chat")[0]
    for source, reason in (({"file": "data/no.json"}, "There is no file"), ({"file": "/etc/hosts"}, "outside")):
        with pytest.raises(TaskError, match=reason):
            read_from(**source)


def test_questions_in_nearly_the_same_words_are_seen() -> None:
    asked = Asked(0.7)
    assert not asked.seen("How long does bread bake in a hot oven?")
    assert asked.seen("how long does bread bake in a hot oven")
    assert asked.seen("How long does white bread bake in a hot oven?")
    assert not asked.seen("How long do rivers flow before they reach the sea?")
    assert not asked.seen("Why?") and asked.seen("why") and not asked.seen("Who?")
    assert not asked.seen("面包要烤多长时间？") and asked.seen("面包要烤多长时间")
    assert not asked.seen("!?") and not asked.seen("??") and asked.seen("!?")


def test_with_a_limit_of_one_only_equal_words_count() -> None:
    asked = Asked(1.0)
    assert not asked.seen("How long does bread bake in a hot oven?")
    assert not asked.seen("How long does white bread bake in a hot oven?")
    assert asked.seen("How long does bread bake in a HOT oven")
