"""The table of malformed files: what people really have, and what must be said of it.

Each kind has three files. A file is its name, its bytes, what its registry entry says besides the name, how the first
message about it begins (its row, or the file) and a part of the sentence.
"""

from __future__ import annotations

import gzip
import io
import json
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from pyarrow import parquet

GOOD = '{"instruction": "a", "output": "b"}'
TURN, REPLY = {"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}
SHARE = {"formatting": "sharegpt"}
OPENAI = {"formatting": "openai"}
RANK = {"ranking": True}
NAMED = {"columns": {"prompt": "q", "response": "r"}}


@dataclass(frozen=True)
class Malformed:
    """One malformed file. `place` is how its message begins, `says` a part of it."""

    kind: str
    name: str
    content: bytes
    place: str
    says: str
    entry: dict[str, Any] = field(default_factory=dict[str, Any])


def table() -> list[Malformed]:
    """Every malformed file."""
    return [*_json_files(), *_lines(), *_rows(), *_chats(), *_preferences(), *_tables(), *_bytes()]


def _file(kind: str, name: str, content: str | bytes, says: str, place: str = "", **entry: Any) -> Malformed:
    raw = content.encode(errors="surrogatepass") if isinstance(content, str) else content
    return Malformed(kind, name, raw, place or f"data/{name} ", says, entry)


def _row(kind: str, value: Any, says: str, **entry: Any) -> Malformed:
    """A jsonl file whose second line is malformed."""
    text = value if isinstance(value, str) else json.dumps(value)
    first = "\n"
    return _file(kind, "x.jsonl", first + text + "\n", says, "row 2 of data/x.jsonl: ", **entry)


def _json_files() -> list[Malformed]:
    json_file = "x.json"
    return [
        _file("cut off", json_file, "[" + GOOD, "in line 1, column 37"),
        _file("cut off", json_file, "[" + GOOD + ",\n" + GOOD[:20], "in line 2"),
        _file("cut off", json_file, '[\n{"instruction": "a', "Unterminated string starting at in line 2, column 17"),
        _file("comma missing", json_file, f"[{GOOD}\n{GOOD}]", "Expecting ',' delimiter in line 2, column 1"),
        _file("comma missing", json_file, '[{"a": 1 "b": 2}]', "Expecting ',' delimiter in line 1, column 10"),
        _file("comma missing", json_file, f"[\n{GOOD} {GOOD}\n]", "Expecting ',' delimiter in line 2"),
        _file("comma too many", json_file, f"[{GOOD},]", "there is a comma behind the last row in line 1, column 38"),
        _file("comma too many", json_file, f"[{GOOD},,{GOOD}]", "Expecting value in line 1"),
        _file("comma too many", json_file, '[{"instruction": "a",}]', "in line 1, column"),
        _file("quotes wrong", json_file, "[{'instruction': 'a'}]", "in line 1, column 3"),
        _file("quotes wrong", json_file, '[\n{instruction: "a"}]', "in line 2, column 2"),
        _file("quotes wrong", json_file, '[{"instruction": “a”}]', "Expecting value in line 1, column 18"),
        _file("no list", json_file, GOOD, "must hold a list of rows, but holds a dict"),
        _file("no list", json_file, '{"data": [1]}', "must hold a list of rows, but holds a dict"),
        _file("no list", json_file, '"text"', "must hold a list of rows, but holds a str"),
        _file("lines in a json file", json_file, f"{GOOD}\n{GOOD}\n", "one object a line. Rename it to x.jsonl"),
        _file("lines in a json file", "y.json", f"{GOOD}\r\n{GOOD}", "one object a line. Rename it to y.jsonl"),
        _file("lines in a json file", "z.json.gz", gzip.compress(f"{GOOD}\n{GOOD}".encode()), "Rename it to z.jsonl"),
        _file("no JSON at all", json_file, "instruction: a\n", "Expecting value in line 1, column 1"),
        _file("no JSON at all", json_file, "<html><body>404</body></html>", "Expecting value in line 1, column 1"),
        _file("no JSON at all", json_file, "// rows\n[]", "Expecting value in line 1, column 1"),
        _file("more behind the list", json_file, f"[{GOOD}]\n[{GOOD}]", "more behind the list in line 2, column 1"),
        _file("more behind the list", json_file, f"[{GOOD}]]", "there is more behind the list in line 1"),
        _file("more behind the list", json_file, "[]\nend", "there is more behind the list in line 2"),
        _file("empty file", json_file, "", "it is empty"),
        _file("empty file", "x.jsonl", "\n \n", "holds no rows", "x.jsonl "),
        _file("empty file", "x.txt", "", "holds no rows", "x.txt "),
        _file("nested too deeply", json_file, "[" * 100_000, "nested too deeply"),
        _row("nested too deeply", "[" * 100_000, "nested too deeply"),
        _row("nested too deeply", '{"a":' * 100_000, "nested too deeply"),
        _file("number of too many digits", json_file, f"[{'9' * 5000}]", "digits"),
        _row("number of too many digits", "9" * 5000, "digits"),
        _row("number of too many digits", f'{{"a": {"1" * 9000}}}', "digits"),
    ]


def _lines() -> list[Malformed]:
    return [
        _row("line cut off", GOOD[:-1], "it is not valid JSON: Expecting ',' delimiter at column 35"),
        _row("line cut off", '{"instruction": "a', "Unterminated string"),
        _row("line cut off", "{", "Expecting property name"),
        _row("two objects in a line", GOOD + GOOD, "Extra data at column 36"),
        _row("two objects in a line", GOOD + " " + GOOD, "Extra data"),
        _row("two objects in a line", GOOD + ",", "Extra data"),
        _row("control character in a line", '{"instruction": "a\tb"}', "Invalid control character at"),
        _row("control character in a line", '{"instruction": "\x00"}', "Invalid control character at"),
        _row("control character in a line", '{"a": "\x1b[0m"}', "Invalid control character at"),
        _row("bad escape", '{"a": "\\x41"}', "Invalid \\escape"),
        _row("bad escape", '{"a": "C:\\dir"}', "Invalid \\escape"),
        _row("bad escape", '{"a": "\\u12"}', "Invalid \\uXXXX escape"),
        _row("words of other languages", '{"a": None}', "Expecting value at column 7"),
        _row("words of other languages", '{"a": True}', "Expecting value at column 7"),
        _row("words of other languages", '{"a": undefined}', "Expecting value at column 7"),
        _row("list in lines", "[", "it is not valid JSON"),
        _row("list in lines", f"[{GOOD}]", "it is a list, not an object"),
        _row("list in lines", "[]", "it is a list, not an object"),
        _row("row is no object", '"text"', "it is a str, not an object"),
        _row("row is no object", "null", "it is a NoneType, not an object"),
        _row("row is no object", "NaN", "it is a float, not an object"),
    ]


def _rows() -> list[Malformed]:
    half = {"instruction": "a", "output": "\ud83d"}
    return [
        _row("field missing", {}, "it has no 'instruction'. It has: nothing"),
        _row("field missing", {"instruction": "a"}, "it has no 'output'. It has: instruction"),
        _row("field missing", {"Instruction": "a", "Output": "b"}, "It has: Instruction, Output"),
        _row("answer missing where one is named", {"q": "a"}, "it has no 'r'. It has: q", **NAMED),
        _row("answer missing where one is named", {"q": "a", "r": None}, "it has no 'r'", **NAMED),
        _row("answer missing where one is named", {"q": "a", "r": ""}, "'r' is empty", **NAMED),
        _row("field null", {"instruction": None, "output": "b"}, "it has no 'instruction'"),
        _row("field null", {"instruction": "a", "output": None}, "it has no 'output'"),
        _row("field null", {"text": None}, "it has no 'text'", formatting="text"),
        _row("field empty", {"instruction": "", "output": "b"}, "'instruction' is empty"),
        _row("field empty", {"instruction": "a", "output": " \n"}, "'output' is empty"),
        _row("field empty", {"text": "\u3000"}, "'text' is empty", formatting="text"),
        _row("field of a wrong type", {"instruction": 3, "output": "b"}, "'instruction' must be text, but is 3"),
        _row("field of a wrong type", {"instruction": "a", "output": ["b"]}, "'output' must be text, but is ['b']"),
        _row("field of a wrong type", {"instruction": "a", "input": {}, "output": "b"}, "'input' must be text"),
        _row("history wrong", {"instruction": "a", "output": "b", "history": "x"}, "'history' must be a list"),
        _row("history wrong", {"instruction": "a", "output": "b", "history": [["x"]]}, "[question, answer] pairs"),
        _row("history wrong", {"instruction": "a", "output": "b", "history": [["x", 1]]}, "[question, answer] pairs"),
        _row("half a character", half, "holds half a character (\\ud83d at character 1)"),
        _row("half a character", {"instruction": "x\udc00", "output": "b"}, "(\\udc00 at character 2)"),
        _row("half a character", {"text": "\udfff"}, "'text' holds half a character", formatting="text"),
        _row("placeholder", {"instruction": "a", "output": "{{name}}"}, "{{name}} has no value", fill={"x": "y"}),
        _row("placeholder", {"instruction": "{{ who }}", "output": "b"}, "has no value", fill={"x": "y"}),
        _row("placeholder", {"text": "{{a}}"}, '"fill": {"a": "..."}', fill={"x": "y"}, formatting="text"),
        _row("judgement wrong", {"instruction": "a", "output": "b"}, "'ok' must be true", columns={"kto_tag": "ok"}),
        _row("judgement wrong", {"instruction": "a", "output": "b", "ok": "good"}, "but is 'good'",
             columns={"kto_tag": "ok"}),
        _row("judgement wrong", {"instruction": "a", "output": "b", "ok": 2}, "but is 2", columns={"kto_tag": "ok"}),
    ]  # fmt: skip


def _chats() -> list[Malformed]:
    def talk(*turns: Any) -> dict[str, Any]:
        return {"conversations": list(turns)}

    call = {"from": "function_call", "value": "{}"}
    result = {"from": "observation", "value": "r"}
    return [
        _row("turns missing", {}, "'conversations' must be a list of turns, but is None", **SHARE),
        _row("turns missing", talk(), "must be a list of turns, but is []", **SHARE),
        _row("turns missing", {"messages": "hi"}, "must be a list of turns, but is 'hi'", **OPENAI),
        _row("turn is no object", talk("hi"), "turn 1 has no 'from'", **SHARE),
        _row("turn is no object", talk(TURN, ["gpt", "b"]), "turn 2 has no 'from'", **SHARE),
        _row("turn is no object", {"messages": [None]}, "turn 1 has no 'role'", **OPENAI),
        _row("other tags", talk({"role": "user", "content": "a"}), "Name the keys of a turn under tags", **SHARE),
        _row("other tags", {"messages": [TURN, REPLY]}, "turn 1 has no 'role'", **OPENAI),
        _row("other tags", talk({"speaker": "A", "text": "a"}), "turn 1 has no 'from'", **SHARE),
        _row("unknown role", talk({"from": "teacher", "value": "a"}), "turn 1 has from='teacher'", **SHARE),
        _row("unknown role", talk(TURN, {"from": "GPT", "value": "b"}), "turn 2 has from='GPT'", **SHARE),
        _row("unknown role", {"messages": [{"role": 1, "content": "a"}]}, "turn 1 has role=1", **OPENAI),
        _row("no answer", talk(TURN), "it has no answer: no turn with from='gpt'", **SHARE),
        _row("no answer", talk({"from": "system", "value": "s"}, TURN), "it has no answer", **SHARE),
        _row("no answer", {"messages": [{"role": "user", "content": "a"}]}, "role='assistant'", **OPENAI),
        _row("answer empty", talk(TURN, {"from": "gpt", "value": ""}), "'value of turn 2' is empty", **SHARE),
        _row("answer empty", talk(TURN, {"from": "gpt", "value": "\n"}), "'value of turn 2' is empty", **SHARE),
        _row("answer empty", talk(TURN, {"from": "gpt"}), "it has no 'value'", **SHARE),
        _row("content of a wrong type", talk(TURN, {"from": "gpt", "value": 7}), "'value' must be text", **SHARE),
        _row("content of a wrong type", {"messages": [{"role": "user", "content": {}}]}, "must be text", **OPENAI),
        _row("content of a wrong type", {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
             "has a part that is no text", **OPENAI),
        _row("system text out of place", talk(TURN, {"from": "system", "value": "s"}), "at the start", **SHARE),
        _row("system text out of place", talk(*[{"from": "system", "value": "s"}] * 2, REPLY), "once", **SHARE),
        _row("system text out of place", {**talk({"from": "system", "value": "s"}, REPLY), "system": "t"}, "once",
             **SHARE),
        _row("tool's result without a call", talk(result, REPLY), "turn 1 is a tool turn, but no call", **SHARE),
        _row("tool's result without a call", talk(TURN, REPLY, result), "turn 3 is a tool turn", **SHARE),
        _row("tool's result without a call", {"messages": [{"role": "tool", "content": "r"}]}, "no call", **OPENAI),
        _row("call malformed", talk(TURN, {**call, "value": "rain()"}), "'the call in turn 2' is not valid", **SHARE),
        _row("call malformed", talk(TURN, call), "the call in turn 2 names no function", **SHARE),
        _row("call malformed", {"messages": [{"role": "assistant", "tool_calls": {}}]}, "must be a list", **OPENAI),
        _row("arguments malformed", talk(TURN, {**call, "value": '{"name": "f", "arguments": "{"}'}),
             "'arguments of f in turn 2' is not valid JSON", **SHARE),
        _row("arguments malformed", talk(TURN, {**call, "value": '{"name": "f", "arguments": 3}'}), "must be an object",
             **SHARE),
        _row("arguments malformed", {"messages": [
            {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "x"}}]}]},
             "'arguments of f in turn 1' is not valid JSON", **OPENAI),
        _row("tools malformed", {**talk(TURN, REPLY), "tools": "none"}, "'tools' is not valid JSON", **SHARE),
        _row("tools malformed", {**talk(TURN, REPLY), "tools": 5}, "'tools' must be a list of tools", **SHARE),
        _row("tools malformed", {**talk(TURN, REPLY), "tools": "3"}, "'tools' must be a list of tools", **SHARE),
    ]  # fmt: skip


def _preferences() -> list[Malformed]:
    user = {"role": "user", "content": "q"}
    good = {"role": "assistant", "content": "b"}
    return [
        _row("side missing", {"instruction": "a", "chosen": "b"}, "it has no 'rejected'", **RANK),
        _row("side missing", {"instruction": "a", "rejected": "b"}, "it has no 'chosen'", **RANK),
        _row("side missing", {"conversations": [TURN], "chosen": REPLY}, "it has no 'rejected'", **RANK, **SHARE),
        _row("side empty", {"instruction": "a", "chosen": "", "rejected": "b"}, "'chosen' is empty", **RANK),
        _row("side empty", {"instruction": "a", "chosen": "b", "rejected": " "}, "'rejected' is empty", **RANK),
        _row("side empty", {"conversations": [TURN], "chosen": {"from": "gpt", "value": ""}}, "is empty", **RANK,
             **SHARE),
        _row("side of a wrong type", {"instruction": "a", "chosen": 1, "rejected": "b"}, "must be an answer", **RANK),
        _row("side of a wrong type", {"conversations": [TURN], "chosen": TURN, "rejected": REPLY},
             "'chosen' must be an answer, but is a turn of user", **RANK, **SHARE),
        _row("side of a wrong type", {"instruction": "a", "chosen": [], "rejected": "b"}, "must be an answer", **RANK),
        _row("question missing", {"chosen": "a", "rejected": "b"}, "it has no 'instruction'", **RANK),
        _row("question missing", {"conversations": [TURN, REPLY], "chosen": REPLY, "rejected": REPLY},
             "must end with a question", **RANK, **SHARE),
        _row("question missing", {"chosen": [good], "rejected": [good]}, "must be a list of turns", **RANK, **OPENAI),
        _row("conversations differ", {"chosen": [user, good], "rejected": [{**user, "content": "p"}, good]},
             "differ before their last turn", **RANK, **OPENAI),
        _row("conversations differ", {"chosen": [user, good], "rejected": [user, good, user, good]},
             "differ before their last turn", **RANK, **OPENAI),
        _row("conversations differ", {"chosen": [user, good], "rejected": [good, good]}, "differ", **RANK, **OPENAI),
    ]  # fmt: skip


def _tables() -> list[Malformed]:
    return [
        _file("cells do not match", "x.csv", "instruction,output\na\n", "it has 1 cells, but the first line names 2",
              "row 1 of data/x.csv (line 2): "),
        _file("cells do not match", "x.csv", 'instruction,output\n"a\n1",b\na,b,c\n', "it has 3 cells",
              "row 2 of data/x.csv (line 4): "),
        _file("cells do not match", "x.tsv", "instruction\toutput\na b\n", "it has 1 cells",
              "row 1 of data/x.tsv (line 2): "),
        _file("quote not closed", "x.csv", 'instruction,output\n"a,b\n', "is not valid CSV: unexpected end of data"),
        _file("quote not closed", "x.csv", 'instruction,output\n"a"x,b\n', "is not valid CSV: .* (line 2)"),
        _file("quote not closed", "x.csv", 'instruction,output\n1,2\n"3"4,5\n', "(line 3)"),
        _file("columns without names", "x.csv", "a,,b\n1,2,3\n", "a column without a name: column 2"),
        _file("columns without names", "x.csv", ",a\n1,2\n", "a column without a name: column 1"),
        _file("columns without names", "x.csv", "\n\n", "its first line must name the columns"),
        _file("column named twice", "x.csv", "a,a\n1,2\n", "names the column 'a' twice"),
        _file("column named twice", "x.tsv", "a\tb\tb\n1\t2\t3\n", "names the column 'b' twice"),
        _file("column named twice", "x.csv", "a;b; a\n1;2;3\n", "names the column 'a' twice"),
        _file("no parquet file", "x.parquet", b"PAR1", "is no whole parquet file"),
        _file("no parquet file", "x.parquet", GOOD, "is no whole parquet file"),
        _file("no parquet file", "x.parquet", _parquet()[:-30], "is no whole parquet file"),
        _file("no parquet file", "x.parquet", b"PAR" + _parquet()[:4] * 99 + b"PAR1", "is no whole parquet file"),
        _file("no arrow file", "x.arrow", b"ARROW1\0\0", "is no whole arrow file"),
        _file("no arrow file", "x.arrow", GOOD, "is no whole arrow file"),
        _file("no arrow file", "x.arrow", b"", "is no whole arrow file"),
        _file("column missing in a table", "x.parquet", _parquet(), "it has no 'instruction'. It has: a",
              "row 1 of data/x.parquet: "),
        _file("column missing in a table", "x.csv", "question,answer\na,b\n", "It has: question, answer",
              "row 1 of data/x.csv (line 2): "),
        _file("column missing in a table", "x.arrow", _arrow(), "it has no 'instruction'. It has: a",
              "row 1 of data/x.arrow: "),
    ]  # fmt: skip


def _bytes() -> list[Malformed]:
    packed = gzip.compress((GOOD + "\n").encode() * 1000)
    return [
        _file("UTF-16", "x.json", f"[{GOOD}]".encode("utf-16"), "begins with the mark of UTF-16"),
        _file("UTF-16", "x.jsonl", GOOD.encode("utf-16"), "begins with the mark of UTF-16"),
        _file("UTF-16", "x.csv", b"\xff\xfe\x00\x00" + "a".encode("utf-32-le"), "begins with the mark of UTF-32"),
        _file("Latin-1", "x.json", '["ü"]'.encode("latin-1"), "is not UTF-8 text (line 1, byte 3 of it)"),
        _file("Latin-1", "x.jsonl", f"{GOOD}\n".encode() + '{"a": "Größe"}'.encode("latin-1"), "Windows-1252",
              "row 2 of data/x.jsonl: "),
        _file("Latin-1", "x.txt", b"caf\xe9 au lait\n", "it is not UTF-8 text (byte 4 of the line)",
              "row 1 of data/x.txt: "),
        _file("other alphabets", "x.jsonl", '{"a": "Здравствуйте"}'.encode("cp1251"), "Windows-1251",
              "row 1 of data/x.jsonl: "),
        _file("other alphabets", "x.json", '[{"a": "今天天气很好"}]'.encode("gb18030"), "GBK (Chinese)"),
        _file("other alphabets", "x.csv", "a\nこんにちは\n".encode("shift_jis"), "(line 2, byte 1 of it)"),
        _file("gzip broken", "x.jsonl.gz", packed[:60], "is no whole gzip file"),
        _file("gzip broken", "x.json.gz", f"[{GOOD}]", "is no whole gzip file"),
        _file("gzip broken", "x.csv.gz", packed[:10] + bytes(40), "is no whole gzip file"),
        _file("gzip broken", "x.json.gz", gzip.compress(b'["' + bytes(range(128, 256)) * 99, 0)[:900], "is no whole"),
        _file("gzip broken", "x.parquet.gz", gzip.compress(_parquet())[:90], "is no whole parquet file"),
        _file("kind unknown", "x.xlsx", b"PK\x03\x04", ".xlsx is not supported"),
        _file("kind unknown", "x", GOOD, "no ending is not supported"),
        _file("kind unknown", "x.docx.gz", packed, "is not supported"),
    ]  # fmt: skip


def _parquet() -> bytes:
    sink = io.BytesIO()
    parquet.write_table(pa.table({"a": ["b"]}), sink)
    return sink.getvalue()


def _arrow() -> bytes:
    sink = io.BytesIO()
    data = pa.table({"a": ["b"]})
    with pa.ipc.new_stream(sink, data.schema) as writer:
        writer.write_table(data)
    return sink.getvalue()
