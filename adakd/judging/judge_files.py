"""Load judge files, and combine several judges into a panel."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field

from adakd.config import Config, resources
from adakd.config.base import Line
from adakd.config.hashing import digest, file_digest
from adakd.config.judge import Prices, Vetting
from adakd.config.loading import apply_override, read_yaml, validated
from adakd.errors import AdakdError
from adakd.judging.base import Judge, judge_backend
from adakd.registry import Spec, load_plugins

JUDGING_VERSION = 2
"""To be raised when the same judge file would give other verdicts."""
_LONGEST_NAME = 100
JURY = "jury"
"""The kind of a file that lists judges."""


def _as_folder(name: str) -> str:
    if "/" in name or "\\" in name or name.startswith(".") or len(name) > _LONGEST_NAME:
        raise ValueError(
            f"expected a name that a folder can have: at most {_LONGEST_NAME} characters, without "
            "slashes, and no dot at the start"
        )
    return name


JudgeName = Annotated[Line, AfterValidator(_as_folder)]
"""The name of a judge, which the folder of its calibrations has too."""


class JudgeConfig(Config):
    """The common fields of a judge file; all others are settings of its backend."""

    model_config = ConfigDict(extra="allow")

    name: JudgeName
    """Taken from the file's name."""
    description: str = ""
    kind: str
    """The backend."""
    family: str | None = None
    """The model family; derived from the model's name if not given."""
    plugins: tuple[Path, ...] = ()
    """Python files that register a backend, relative to this file."""
    vetting: Vetting = Vetting()
    prices: Prices | None = None


class JuryConfig(Config):
    """The fields of a jury file."""

    name: JudgeName
    description: str = ""
    kind: str
    members: tuple[str, ...] = Field(min_length=2)
    """Names of shipped judges, or paths of judge files relative to this file."""


@dataclass(frozen=True)
class Panel:
    """Judges that are asked together; several form a jury."""

    name: str
    description: str
    judges: tuple[Judge, ...]

    @property
    def id(self) -> str:
        """Return the id of the only judge, or that of the jury, derived from its members."""
        if len(self.judges) == 1:
            return self.judges[0].id
        return f"{self.name}@{digest(sorted(judge.id for judge in self.judges))[:8]}"


def load_panel(names: Sequence[str], overrides: Sequence[str] = ()) -> Panel:
    """Load judges by shipped name or path; several, or a jury file, form a jury.

    Args:
        names: at least one.
        overrides: ``field=value`` settings of the judge, if there is only one.

    Raises:
        AdakdError: an unknown judge, a judge named twice, or an invalid field, with its file.
    """
    juries = [_jury(resources.find("judges", name)) for name in names]
    judges = list(_members(names, juries, overrides))
    ids = [judge.id for judge in judges]
    if twice := [judge.name for judge in judges if ids.count(judge.id) > 1]:
        raise AdakdError(f"judge {twice[0]!r} is given twice; name each judge once")
    if len(juries) == 1 and juries[0] is not None:
        return Panel(juries[0].name, juries[0].description, tuple(judges))
    if len(judges) == 1:
        return Panel(judges[0].name, judges[0].description, tuple(judges))
    members = ", ".join(sorted(judge.name for judge in judges))
    return Panel(f"jury({members})", f"The majority of {members}.", tuple(judges))


def load_judge(name: str, overrides: Sequence[str] = ()) -> Judge:
    """Load a judge by shipped name or path, with ``field=value`` overrides; asks nothing.

    Raises:
        AdakdError: an unknown judge, or an invalid field, with its file.
    """
    file = resources.find("judges", name)
    content = read_yaml(file)
    for override in overrides:
        apply_override(content, override)
    own_name = file.stem if file == Path(name) else name
    config = validated(JudgeConfig, {"name": own_name, **content}, file)
    code = tuple(file.parent / plugin for plugin in config.plugins)
    try:
        load_plugins(code)
        backend = judge_backend.build(Spec(name=config.kind, **_settings(config, file)))
    except AdakdError as error:
        raise AdakdError(f"{file}: {error}") from None
    fingerprint = digest(
        JUDGING_VERSION, config.kind, backend.fingerprint(), [file_digest(path) for path in code]
    )
    model = backend.traits().model
    return Judge(
        name=config.name,
        description=config.description,
        file=file,
        kind=config.kind,
        backend=backend,
        id=f"{config.name}@{fingerprint[:8]}",
        family=config.family or (family(model) if model else None),
        vetting=config.vetting,
        prices=config.prices,
    )


def family(model: str) -> str | None:
    """Return the family in a model's name, such as ``qwen`` for ``Qwen/Qwen3-32B``.

    It is the leading letters of the name; None for a name without any.
    """
    name = model.rstrip("/").rpartition("/")[2].lower().removeprefix("meta-")
    found = re.match(r"[a-z]+", name)
    return found[0] if found else None


def _jury(file: Path) -> JuryConfig | None:
    content = read_yaml(file)
    if content.get("kind") != JURY:
        return None
    return validated(JuryConfig, {"name": file.stem, **content}, file)


def _members(
    names: Sequence[str], juries: Sequence[JuryConfig | None], overrides: Sequence[str]
) -> Iterator[Judge]:
    if overrides and (len(names) > 1 or juries[0]):
        raise AdakdError("--set changes a single judge; for a jury, edit the files of its members")
    for name, jury in zip(names, juries, strict=True):
        if jury is None:
            yield load_judge(name, overrides)
            continue
        folder = resources.find("judges", name).parent
        for member in jury.members:
            path = folder / member
            yield load_judge(str(path) if path.suffix in (".yaml", ".yml") else member)


def _settings(config: JudgeConfig, file: Path) -> dict[str, Any]:
    """Return the backend's settings, with the prompt resolved to a path."""
    settings = dict(config.model_extra or {})
    if isinstance(prompt := settings.get("prompt"), str):
        places = [file.parent / prompt, resources.ROOT / "templates" / "judge" / prompt]
        found = [place for place in places if place.is_file()]
        if not found:
            raise AdakdError(
                f"prompt: {prompt!r} is neither in the same folder nor a shipped prompt"
            )
        settings["prompt"] = found[0]
    return settings
