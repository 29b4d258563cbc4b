from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from adakd.config import resources
from adakd.errors import AdakdError, UnknownName
from adakd.judging import InProcess, OpenAI, Rule, judge_backend, load_judge, load_panel
from adakd.judging.judge_files import JURY, family

WriteFile = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path) -> WriteFile:
    """Write a judge file and return its path."""

    def write(name: str, **content: Any) -> str:
        file = tmp_path / f"{name}.yaml"
        file.parent.mkdir(exist_ok=True)
        file.write_text(yaml.safe_dump(content), encoding="utf-8")
        return str(file)

    return write


def shipped_content(name: str) -> dict[str, Any]:
    text = (resources.ROOT / "judges" / f"{name}.yaml").read_text(encoding="utf-8")
    content: dict[str, Any] = yaml.safe_load(text)
    return content


SINGLE = [name for name in resources.shipped("judges") if shipped_content(name)["kind"] != JURY]


# --- one judge ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", resources.shipped("judges"))
def test_every_shipped_judge_loads_without_its_key(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    panel = load_panel([name])
    assert panel.name == name
    assert panel.description
    assert panel.id.startswith(f"{name}@")


def test_the_file_to_start_from_works_both_ways(tmp_path: Path) -> None:
    text = (resources.ROOT / "templates" / "new" / "judge.yaml").read_text(encoding="utf-8")
    own = tmp_path / "own.yaml"
    own.write_text(text, encoding="utf-8")
    assert isinstance(load_judge(str(own)).backend, Rule)
    commented = text.partition("uncomment these")[2].partition("# description")
    lines = ("# description" + commented[2]).splitlines()
    own.write_text("\n".join(line.removeprefix("# ") for line in lines), encoding="utf-8")
    chat = load_judge(str(own)).backend
    assert isinstance(chat, OpenAI)
    assert chat.api_key_env == "MY_JUDGE_KEY"


def test_the_identities_of_shipped_judges_stay() -> None:
    """Verdicts in stored runs are found by these; a judge's id changes only with its verdicts."""
    ids = {
        "local": "f8890f78",
        "openai": "60fa40d8",
        "qwen3-32b": "ff54a479",
        "rubric": "77e91bbb",
        "rule": "d35e6516",
    }
    assert {name: load_judge(name).id for name in ids} == {
        name: f"{name}@{digest}" for name, digest in ids.items()
    }


def test_a_kind_of_judge_lives_in_a_file_of_that_name() -> None:
    kinds = {shipped_content(name)["kind"] for name in SINGLE}
    assert kinds == {"in_process", "openai", "rule"}
    for kind in kinds:
        assert judge_backend[kind].__module__ == f"adakd.judging.backends.{kind}"


def test_only_what_decides_a_verdict_changes_the_identity() -> None:
    name, _, digest = load_judge("openai").id.partition("@")
    assert (name, len(digest)) == ("openai", 8)

    def with_(override: str) -> str:
        return load_judge("openai", [override]).id

    same = ["concurrency=1", "retries=0", "timeout=5", "api_key_env=OTHER", "description=x"]
    same += ["family=x", "vetting={accuracy: 0.5}", "prices={prompt: 1, completion: 2}"]
    assert {with_(override) for override in same} == {f"openai@{digest}"}
    other = ["model=x", "temperature=1", "max_tokens=5", "verdicts=[x, y, z]", "extra={seed: 1}"]
    assert len({with_(override) for override in other} | {f"openai@{digest}"}) == 6


@pytest.mark.parametrize("name", ["openai", "in_process"])
def test_the_identity_follows_the_prompt_text_not_its_place(
    name: str, write: WriteFile, tmp_path: Path
) -> None:
    shipped = (resources.ROOT / "templates" / "judge" / "pairwise.j2").read_text(encoding="utf-8")
    (tmp_path / "mine.j2").write_text(shipped, encoding="utf-8")
    file = write(name, **shipped_content(name) | {"prompt": "mine.j2"})
    assert load_judge(file).id == load_judge(name).id
    (tmp_path / "mine.j2").write_text(shipped + "!", encoding="utf-8")
    assert load_judge(file).id != load_judge(name).id


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("temprature=1", "takes no 'temprature'; did you mean 'temperature'?"),
        ("kind=opnai", "unknown judge backend 'opnai'; did you mean 'openai'?"),
        ("temperature=cold", "temperature: "),
        ("base_url=localhost", "base_url: "),
        ("base_url=https://me:hush@example.org/v1", "base_url: "),
        ("api_key_env=sk-hush", "api_key_env: "),
        ("prompt=nowhere.j2", "prompt: 'nowhere.j2' is neither"),
        ("pattern=(A", "pattern: "),
        ("pattern=A|B", "pattern: "),
        ("pattern=()", "pattern: matches an empty text"),
        ("pattern=(.*?)", "pattern: matches an empty text"),
        ("model=''", "model: expected one line of printable text"),
        ("model=' '", "model: expected one line of printable text"),
        ('name="a\\nb"', "name: expected one line of printable text"),
        ("extra={model: other}", "extra: 'model' is not for `extra`: set the field `model`"),
        ("extra={messages: []}", "extra: 'messages' is not for `extra`: the field `prompt`"),
        ("extra={temperature: 1}", "extra: 'temperature' is not for `extra`: set the field"),
        ("extra={max_tokens: 1}", "extra: 'max_tokens' is not"),
        ("extra={stream: true}", "extra: 'stream' is not"),
        ("extra={n: 2}", "extra: 'n' is not"),
        ("extra={echo: true}", "extra: 'echo' is not"),
        ("extra={tools: []}", "extra: 'tools' is not"),
        ("extra={top_p: .nan}", "extra: a number in it is not finite"),
        ("timeout=inf", "timeout: Input should be a finite number"),
        ("verdicts=[A, ' B', C]", "verdicts: ' B' is no label that can be read"),
        ("verdicts=['[A]', B, C]", "verdicts: '[A]' is no label that can be read"),
        ("name=../x", "name: expected a name that a folder can have"),
        ("name=.x", "name: expected a name that a folder can have"),
        ("mode=best", "'openai', mode: Input should be"),
        ("patience=-1", "patience: "),
        ("vetting={accuracy: 2}", "vetting.accuracy"),
        ("vetting={bar: 1}", "vetting.bar"),
        ("prices={prompt: 1}", "prices.completion"),
        ("plugins=[nowhere.py]", "nowhere.py"),
    ],
)
def test_a_wrong_field_is_named_with_its_file(override: str, said: str) -> None:
    with pytest.raises(AdakdError) as caught:
        load_judge("openai", [override])
    message = str(caught.value)
    assert str(resources.ROOT / "judges") in message
    assert said in message
    assert message.count("openai.yaml") == 1
    assert "\n" not in message
    assert "hush" not in message


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("verdicts=[A, A, C]", "verdicts"),
        ("verdicts=[A, B]", "verdicts"),
        ("scale=[5, 1]", "scale"),
        ("asks=opinion", "asks"),
        ("gguf_file=../x.gguf", "gguf_file"),
        ("model=''", "model: is empty"),
    ],
)
def test_a_wrong_field_of_a_model_in_process_is_named_with_its_file(
    override: str, said: str
) -> None:
    with pytest.raises(AdakdError, match=rf"in_process\.yaml: .*{said}"):
        load_judge("in_process", [override])


@pytest.mark.parametrize(
    "template",
    [
        "{{ answer }}",
        "{% if %}",
        "{{ first.x.y }}",
        "{% include 'other.j2' %}",
        "{% extends 'other.j2' %}",
        "{% import 'other.j2' as other %}",
        "{% for n in range(10 ** 9) %}x{% endfor %}",
        "{{ range(10 ** 30) | length }}",
        "{{ 1 / 0 }}",
        "{{ 'x' * 10 ** 10 }}",
        "{{ first % 3 }}",
        "{{ first + 3 }}",
        "{{ 10 ** (10 ** 10) }}",
    ],
)
@pytest.mark.parametrize("name", ["local", "in_process"])
def test_a_broken_prompt_is_found_when_the_judge_is_read(
    write: WriteFile, tmp_path: Path, template: str, name: str
) -> None:
    (tmp_path / "own.j2").write_text(template, encoding="utf-8")
    file = write("own", **shipped_content(name) | {"prompt": "own.j2"})
    with pytest.raises(AdakdError, match=r"own\.yaml: prompt: .*own\.j2"):
        load_judge(file)


@pytest.mark.parametrize(
    ("template", "missing"),
    [
        ("Which is better?", "first"),
        ("{{ first }}", "second"),
        ("{{ second }}{{ form }}", "first"),
        ("{{ first }}{% if form == 'text' %}{{ second }}{% endif %}", "second"),
    ],
)
def test_a_prompt_that_does_not_show_the_answers_is_refused(
    write: WriteFile, tmp_path: Path, template: str, missing: str
) -> None:
    (tmp_path / "own.j2").write_text(template, encoding="utf-8")
    file = write("own", **shipped_content("local") | {"prompt": "own.j2"})
    with pytest.raises(AdakdError, match=rf"own\.j2 does not show the {missing} answer"):
        load_judge(file)


def test_a_rating_prompt_shows_one_answer(write: WriteFile, tmp_path: Path) -> None:
    (tmp_path / "own.j2").write_text("{{ first }}", encoding="utf-8")
    load_judge(write("own", **shipped_content("rubric") | {"prompt": "own.j2"}))


def test_a_missing_plugin_is_blamed_on_the_judge_file(write: WriteFile) -> None:
    file = write("own", kind="one", plugins=["nowhere.py"])
    with pytest.raises(AdakdError, match=r"own\.yaml: plug-in .*nowhere\.py: no such file"):
        load_judge(file)


def test_an_unknown_judge_is_met_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean 'openai'"):
        load_judge("opneai")


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("Qwen/Qwen3-32B", "qwen"),
        ("Qwen/Qwen2.5-0.5B-Instruct", "qwen"),
        ("meta-llama/Llama-3.1-8B", "llama"),
        ("meta-llama/Meta-Llama-3-8B", "llama"),
        ("gpt-4.1-mini", "gpt"),
        ("models/SmolLM2-135M-Instruct/", "smollm"),
        ("openai-community/gpt2-xl", "gpt"),
        ("7b", None),
        ("", None),
    ],
)
def test_a_model_tells_its_family_by_its_name(model: str, expected: str | None) -> None:
    assert family(model) == expected


def test_the_family_in_the_file_comes_first() -> None:
    assert load_judge("qwen3-32b").family == "qwen"
    assert load_judge("qwen3-32b", ["family=mine"]).family == "mine"
    assert load_judge("rule").family is None


PLUGIN = """
from contextlib import asynccontextmanager
from adakd.judging import Session, Traits, Verdict, judge_backend

@judge_backend("{name}")
class Own:
    def __init__(self, *, taste: str = "none") -> None:
        self.taste = taste
    def traits(self): return Traits()
    def fingerprint(self): return {{"taste": self.taste}}
    def tokens(self, question): return None
    @asynccontextmanager
    async def open(self, mode): yield Session(self.ask, "own")
    async def ask(self, question): return Verdict("{verdict}")
"""


def test_a_plugin_beside_the_file_is_a_backend_and_its_code_decides(
    write: WriteFile, tmp_path: Path
) -> None:
    (tmp_path / "one.py").write_text(PLUGIN.format(name="one", verdict="tie"), encoding="utf-8")
    (tmp_path / "two.py").write_text(PLUGIN.format(name="two", verdict="first"), encoding="utf-8")
    file = write("own", kind="one", plugins=["one.py"], taste="plain")
    judge = load_judge(file)
    assert judge.backend.fingerprint() == {"taste": "plain"}
    assert load_judge(file).id == judge.id
    assert load_judge(file, ["taste=sweet"]).id != judge.id
    # the same settings, but other code: a file whose code changed is another judge
    more = write("own", kind="one", plugins=["one.py", "two.py"], taste="plain")
    assert load_judge(more).id != judge.id


# --- several judges -------------------------------------------------------------------------


def test_one_judge_is_a_panel_with_its_own_identity() -> None:
    panel = load_panel(["rule"], ["tie_margin=0.1"])
    assert panel.id == load_judge("rule", ["tie_margin=0.1"]).id
    assert (panel.name, len(panel.judges)) == ("rule", 1)


def test_several_judges_are_a_jury() -> None:
    panel = load_panel(["rule", "local", "in_process"])
    assert [judge.name for judge in panel.judges] == ["rule", "local", "in_process"]
    assert isinstance(panel.judges[2].backend, InProcess)
    assert panel.id not in {judge.id for judge in panel.judges}
    assert panel.id == load_panel(["rule", "local", "in_process"]).id
    assert panel.id != load_panel(["rule", "local"]).id


def test_a_jury_file_names_shipped_judges_and_files_beside_it(write: WriteFile) -> None:
    write("mine", kind="rule", tie_margin=0.2)
    jury = write("jury", kind=JURY, description="Two rules", members=["rule", "mine.yaml"])
    panel = load_panel([jury])
    assert (panel.name, panel.description) == ("jury", "Two rules")
    assert [judge.name for judge in panel.judges] == ["rule", "mine"]
    before = panel.id
    write("mine", kind="rule", tie_margin=0.3)
    assert load_panel([jury]).id != before


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({}, "members"),
        ({"members": []}, "members"),
        ({"members": ["rule"]}, "members"),
        ({"members": "rule"}, "members"),
        ({"members": ["rule", "local"], "temperature": 1}, "temperature"),
    ],
)
def test_a_wrong_jury_names_its_file_and_field(
    write: WriteFile, content: dict[str, Any], said: str
) -> None:
    file = write("jury", kind=JURY, **content)
    with pytest.raises(AdakdError) as caught:
        load_panel([file])
    assert file in str(caught.value)
    assert said in str(caught.value)


def test_an_unknown_member_is_met_with_the_nearest(write: WriteFile) -> None:
    with pytest.raises(AdakdError, match="did you mean 'local'"):
        load_panel([write("jury", kind=JURY, members=["rule", "locla"])])


def test_no_judge_sits_twice(write: WriteFile) -> None:
    with pytest.raises(AdakdError, match="'rule' is given twice"):
        load_panel(["rule", "rule"])
    jury = write("jury", kind=JURY, members=["rule", "local"])
    with pytest.raises(AdakdError, match="'rule' is given twice"):
        load_panel([jury, "rule"])


def test_settings_from_the_command_line_are_for_one_judge(write: WriteFile) -> None:
    jury = write("jury", kind=JURY, members=["rule", "local"])
    for names in ([jury], ["rule", "local"]):
        with pytest.raises(AdakdError, match="--set changes a single judge"):
            load_panel(names, ["tie_margin=0.1"])


@pytest.mark.parametrize(
    "address",
    [
        "https://me:sk-hush/hush@example.org/v1",
        "https://me:sk-hush@example.org/v1",
        "https://sk-hush/x@example.org/v1",
        "https://example.org:sk-hush/v1",
        "https://example.org/v1?key=sk-hush",
        f"https://sk-hush{'x' * 70}.org/v1",
    ],
)
def test_no_error_quotes_a_key_in_an_address(address: str) -> None:
    with pytest.raises(AdakdError, match="base_url: ") as caught:
        load_judge("openai", ["model=m", f"base_url={address}"])
    assert "hush" not in str(caught.value)
