"""Settings of what each kind of work takes from a machine or a cluster; in no key."""

from pydantic import NonNegativeFloat, PositiveInt

from adakd.config.base import Config


class Needs(Config):
    """What one unit of work takes while it is done."""

    gpus: NonNegativeFloat | None = None
    """GPUs, or the part of one: with 0.25 four units share a GPU. Under ``--on ray`` by default one
    for each of a training's ``devices`` where the cluster has GPUs, else 0."""
    cpus: PositiveInt | None = None
    """Cores, and threads of PyTorch: sums of floating-point numbers may depend on these in their
    last digits. By default 1 for each of a training's ``devices`` under ``--on ray``, and all cores
    in one process. The devices share them."""
    memory: NonNegativeFloat | None = None
    """GB of main memory that a node must have left for a unit to start under ``--on ray``."""


class Resources(Config):
    """What units take, by kind. Nothing here decides a result, up to rounding."""

    teacher: Needs = Needs()
    """Training the teacher."""
    teaching: Needs = Needs()
    """Reading the training data with the teacher."""
    student: Needs = Needs()
    """Training a student."""
    score: Needs = Needs()
    """Scoring a model."""
    timing: Needs = Needs()
    """Measuring an overhead; nothing else runs on its node meanwhile."""
