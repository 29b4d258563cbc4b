from pathlib import Path

import pytest

from adakd import resources
from adakd.errors import AdakdError, UnknownName
from adakd.judging import Chat, Rule, load_judge


@pytest.mark.parametrize("name", resources.shipped("judges"))
def test_every_shipped_judge_loads_without_its_key(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    judge = load_judge(name)
    assert judge.name == name
    assert judge.description


def test_the_file_to_start_from_works_both_ways(tmp_path: Path) -> None:
    text = (resources.ROOT / "templates" / "new" / "judge.yaml").read_text(encoding="utf-8")
    own = tmp_path / "own.yaml"
    own.write_text(text, encoding="utf-8")
    assert isinstance(load_judge(str(own)).backend, Rule)
    commented = text.partition("model instead")[2].partition("# description")
    lines = ("# description" + commented[2]).splitlines()
    own.write_text("\n".join(line.removeprefix("# ") for line in lines), encoding="utf-8")
    chat = load_judge(str(own)).backend
    assert isinstance(chat, Chat)
    assert chat.api_key_env == "MY_JUDGE_KEY"


def test_only_what_decides_a_verdict_changes_the_identity() -> None:
    name, _, digest = load_judge("openai").id.partition("@")
    assert (name, len(digest)) == ("openai", 8)

    def with_(override: str) -> str:
        return load_judge("openai", [override]).id

    same = ["concurrency=1", "retries=0", "timeout=5", "api_key_env=OTHER", "description=x"]
    assert {with_(override) for override in same} == {f"openai@{digest}"}
    other = ["model=x", "temperature=1", "max_tokens=5", "verdicts=[x, y, z]", "extra={seed: 1}"]
    assert len({with_(override) for override in other} | {f"openai@{digest}"}) == 6


def test_the_identity_follows_the_prompt_text_not_its_place(tmp_path: Path) -> None:
    shipped = (resources.ROOT / "templates" / "judge" / "pairwise.j2").read_text(encoding="utf-8")
    (tmp_path / "mine.j2").write_text(shipped, encoding="utf-8")
    file = tmp_path / "openai.yaml"
    file.write_text(
        (resources.ROOT / "judges" / "openai.yaml")
        .read_text(encoding="utf-8")
        .replace("pairwise.j2", "mine.j2"),
        encoding="utf-8",
    )
    assert load_judge(str(file)).id == load_judge("openai").id
    (tmp_path / "mine.j2").write_text(shipped + "!", encoding="utf-8")
    assert load_judge(str(file)).id != load_judge("openai").id


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("modle=x", "takes no 'modle'; did you mean 'model'?"),
        ("kind=opnai", "unknown judge backend 'opnai'; did you mean 'openai'?"),
        ("temperature=cold", "temperature: "),
        ("base_url=localhost", "base_url: "),
        ("base_url=https://me:hush@example.org/v1", "base_url: "),
        ("api_key_env=sk-hush", "api_key_env: "),
        ("prompt=nowhere.j2", "prompt: nowhere.j2 is neither"),
        ("pattern=(A", "pattern: "),
        ("pattern=A|B", "pattern: "),
    ],
)
def test_a_wrong_field_is_named_with_its_file(override: str, said: str) -> None:
    with pytest.raises(AdakdError) as caught:
        load_judge("openai", [override])
    message = str(caught.value)
    assert message.startswith(str(resources.ROOT / "judges" / "openai.yaml"))
    assert said in message
    assert "\n" not in message
    assert "hush" not in message


@pytest.mark.parametrize("template", ["{{ answer }}", "{% if %}", "{{ first.x.y }}"])
def test_a_broken_prompt_is_found_when_the_judge_is_read(tmp_path: Path, template: str) -> None:
    (tmp_path / "own.j2").write_text(template, encoding="utf-8")
    file = tmp_path / "own.yaml"
    file.write_text(
        "kind: openai\nbase_url: http://localhost/v1\nmodel: m\nprompt: own.j2\n", encoding="utf-8"
    )
    with pytest.raises(AdakdError, match=r"own.yaml: prompt: .*own.j2"):
        load_judge(str(file))


def test_an_unknown_judge_is_met_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean 'openai'"):
        load_judge("opneai")
