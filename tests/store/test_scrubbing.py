"""What is taken out of texts and settings before they leave a machine, and what stays."""

from pathlib import Path

import pytest

from adakd.store.scrubbing import Scrubber

ENVIRONMENT = {
    "OPENAI_API_KEY": "0123456789",
    "HF_TOKEN": "hf_" + "q" * 30,
    "PASSWORD": "short",
    "PATH": "/usr/local/bin",
}


@pytest.fixture
def scrubber(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Scrubber:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("HOME", "/srv/ada")
    return Scrubber(ENVIRONMENT)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("the key 0123456789 leaked", "the key [secret] leaked"),
        (f"Bearer hf_{'q' * 30}", "Bearer [secret]"),
        ("sk-proj-abcdefghijklmnop1234", "[secret]"),
        ("ghp_" + "a" * 36, "[secret]"),
        ("/srv/ada/runs/x: No such file", "~/runs/x: No such file"),
        ("/srv/adabas stays", "/srv/adabas stays"),
        ("/home/bob/x and /Users/eve/y", "~/x and ~/y"),
        ("https://user:pass@example.com/a?key=1", "https://example.com/a"),
        ("http://192.168.0.7:8000/v1", "http://private-server/v1"),
        ("http://gpu-box:8000/v1", "http://private-server/v1"),
        ("https://api.openai.com/v1", "https://api.openai.com/v1"),
        ("a short password", "a short password"),
        ("usr/local/bin 0.5 a/b", "usr/local/bin 0.5 a/b"),
    ],
)
def test_a_text_keeps_all_but_what_is_private(scrubber: Scrubber, text: str, left: str) -> None:
    assert scrubber.text(text) == left
    assert scrubber.text(left) == left


def test_the_working_folder_is_here(scrubber: Scrubber) -> None:
    here = Path.cwd()
    assert scrubber.text(f"in {here}/runs and {here}-2") == f"in ./runs and {here}-2"


def test_settings_keep_names_alone(scrubber: Scrubber) -> None:
    settings = {
        "model": "/mnt/models/qwen", "train": "../data/x.jsonl", "id": "MiniLLM/dolly",
        "api_key": "k", "nested": [{"path": "~/y"}], "template": "/{x}\nmore", "share": 0.5,
    }  # fmt: skip
    assert scrubber.settings(settings) == {
        "model": "qwen", "train": "x.jsonl", "id": "MiniLLM/dolly",
        "api_key": "[secret]", "nested": [{"path": "y"}], "template": "/{x}\nmore", "share": 0.5,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("command", "left"),
    [
        ("adakd run /mnt/x/suite.yaml --out ../r", "adakd run suite.yaml --out r"),
        ("adakd run a --set data.folder=/mnt/d", "adakd run a --set data.folder=d"),
        ("adakd judge r --set api_key=abc", "adakd judge r --set 'api_key=[secret]'"),
        ("adakd run 'unclosed", "adakd run 'unclosed"),
    ],
)
def test_a_command_keeps_names_alone(scrubber: Scrubber, command: str, left: str) -> None:
    assert scrubber.command(command) == left


def test_a_last_look_finds_what_is_left(scrubber: Scrubber) -> None:
    assert [*scrubber.found("0123456789")] == ["a secret of the environment"]
    assert [*scrubber.found("in /srv/ada/x")] == ["the folder /srv/ada"]
    assert [*scrubber.found(f"hf_{'z' * 20}")] == ["a token"]
    assert [*scrubber.found("nothing")] == []
