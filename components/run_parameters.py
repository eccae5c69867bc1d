"""Declares the parameters of a run, each in one place.

From `PARAMETERS` follow the options of `fulcrum run` and `fulcrum compile`, what a run of a compiled pipeline is
started with, what Preflight checks, which settings the Trainer takes at run time, and the table in docs/kubeflow.md,
which `python -m components.run_parameters` prints.

It lies beside the components since Preflight and the Trainer, which don't know each other, both go by it, and since its
checks ask Beam, TensorFlow and ingest, which `schema` does without. Importing it takes no time: checks import what they
need, so that a command can print its help at once.
"""

import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from components.uris import check_readable_by_beam, check_usable_by_tensorflow

if TYPE_CHECKING:
    from schema.spec import RankingSpec

RUN, COMPILE = "run", "compile"


@dataclass(frozen=True)
class Parameter:
    """A value that a run is started with.

    Attributes:
      name: such as `push_destination`; the option is then `--push-destination`.
      type: `str`, `int` or `float`; `bool` for a flag of a command, which Kubeflow has no type for.
      description: what it is, for Kubeflow's interface, the docs and, unless `help` has another text, `fulcrum run`.
      default: of runs of a compiled pipeline, with `{root}` for the folder of their artifacts. An empty text means that
        the parameter may be empty; None that `fulcrum compile` or each run must give it.
      section: of the spec, `model` or `training`, whose field of this name it sets; the default is the spec's value.
      commands: those that have it as an option.
      help: by command, where the text that follows from the other attributes would not do.
      compiled: whether runs of a compiled pipeline have it.
      otherwise: what the default is where `fulcrum compile` is given none, in words.
      minimum: the least value of a number.
      check: takes what a message calls the parameter, and a value; raises ValueError if the value can't be used.
      only_with: another parameter, without which this one is not used.
      model: the output of Preflight that holds the model at this address.
    """

    name: str
    type: type
    description: str
    default: str | int | float | None = None
    section: Literal["", "model", "training"] = ""
    commands: tuple[str, ...] = (RUN, COMPILE)
    help: Mapping[str, str] = field(default_factory=dict)
    compiled: bool = True
    otherwise: str = ""
    minimum: float | None = None
    check: Callable[[str, Any], object] | None = None
    only_with: str = ""
    model: str = ""

    @property
    def option(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def is_required(self) -> bool:
        """Returns whether nothing stands for the value where none is given."""
        return self.default is None and not self.section

    def help_for(self, command: str) -> str:
        """Returns what the command's `--help` says of the option."""
        if command in self.help or command == RUN:
            return self.help.get(command, self.description)
        otherwise = f"; else {self._default_in_words()}" if self.otherwise or self.section else ""
        return f"The default of `{self.name}`{', a model' if self.model else ''}{otherwise}."

    def default_for(self, spec: "RankingSpec", root: str) -> str | int | float | None:
        """Returns what a run has that is given no value; None if it must be given one.

        Args:
          root: the folder below which a run keeps its artifacts.
        """
        if self.section:
            return getattr(getattr(spec, self.section), self.name)
        return self.default.format(root=root.rstrip("/")) if isinstance(self.default, str) else self.default

    def check_value(self, value: Any, name: str) -> None:
        """Raises ValueError for a value that can't be used; `name` is what the message calls the parameter."""
        if value == "" == self.default:
            return
        if self.minimum is not None and value < self.minimum:
            raise ValueError(f"{name}: expected at least {self.minimum:g}, got {value:g}")
        if self.check:
            self.check(name, value)

    def table_row(self) -> str:
        """Returns the row of docs/kubeflow.md."""
        options = [f"`{self.option}`"] if COMPILE in self.commands else []
        default = "; else ".join([*options, self._default_in_words()])
        return f"| `{self.name}` | {self.description} | {default} |"

    def _default_in_words(self) -> str:
        if self.otherwise or self.section:
            return self.otherwise or "the spec's"
        return "each run must give it" if self.is_required else str(self.default) or "empty"


def _check_window(_: str, text: str) -> None:
    from ingest.windows.window import Window

    Window.parse(text)


def _check_beam_args(name: str, text: str) -> None:
    from apache_beam.options.pipeline_options import PipelineOptions

    try:
        arguments = shlex.split(text)
    except ValueError as error:
        raise ValueError(f"{name}: {error}: {text!r}") from None
    try:
        PipelineOptions(arguments).get_all_options()
    except SystemExit:
        # argparse has said on stderr what is wrong.
        raise ValueError(f"{name}: Beam does not take {text!r}") from None


# In the order in which `--help` and Preflight name them.
PARAMETERS: tuple[Parameter, ...] = (
    Parameter(
        "logs",
        str,
        "The folder (a URI) of the logs that the spec's patterns name.",
        help={
            RUN: "The folder (or URI) of the logs that the spec's patterns name.",
            COMPILE: "The default of the parameter `logs`.",
        },
        check=check_readable_by_beam,
    ),
    Parameter(
        "window",
        str,
        "The days whose impressions become examples, such as 7d:2026-11-25; empty: all logs at once.",
        default="",
        help={
            RUN: "Of logs in daily folders, the last days up to one, such as 7d:2026-11-25.",
            COMPILE: "The default of `window`, such as 7d:2026-11-25; empty: all logs.",
        },
        check=_check_window,
    ),
    Parameter(
        "state",
        str,
        "The folder (a URI) where the runs of a rolling window keep what earlier days carry on.",
        default="{root}/state",
        commands=(COMPILE,),
        otherwise="`state` in the root",
        check=check_readable_by_beam,
        only_with="window",
    ),
    Parameter(
        "routing",
        str,
        "How the tasks share parameters.",
        section="model",
        help={RUN: "How tasks share: ple, shared_bottom, single_task, …"},
    ),
    Parameter(
        "bottom",
        str,
        "What the routing reads: plain, dtrn or din.",
        section="model",
        commands=(RUN,),
        compiled=False,
    ),
    Parameter(
        "epochs",
        int,
        "At most so many passes over the train split; 0: by its size.",
        section="training",
        minimum=0,
    ),
    Parameter(
        "batch_size",
        int,
        "Examples a training step.",
        section="training",
        commands=(RUN,),
        compiled=False,
        minimum=1,
    ),
    Parameter(
        "reference",
        bool,
        "Train a single-task ranker too, and show the gain against it.",
        section="training",
        commands=(RUN,),
        compiled=False,
    ),
    Parameter(
        "push_destination",
        str,
        "The folder (a URI) of the model's versions that the serving side watches.",
        commands=(COMPILE,),
        check=check_usable_by_tensorflow,
    ),
    Parameter(
        "beam_args",
        str,
        "The arguments of Apache Beam, as on a command line.",
        commands=(),
        otherwise="by `--runner` and `--beam-arg`",
        check=_check_beam_args,
    ),
    Parameter(
        "compare_with",
        str,
        "The blessed model (a URI) that the new one may not fall behind; empty for none.",
        default="",
        commands=(COMPILE,),
        check=check_usable_by_tensorflow,
        model="baseline_model",
    ),
    Parameter(
        "start_from",
        str,
        "The model (a URI) that training starts from; empty for none.",
        default="",
        commands=(COMPILE,),
        check=check_usable_by_tensorflow,
        model="base_model",
    ),
    Parameter(
        "start_reference_from",
        str,
        "The single-task model (a URI) that the reference starts from, beside `start_from`; empty for none.",
        default="",
        commands=(COMPILE,),
        check=check_usable_by_tensorflow,
        model="reference_base_model",
    ),
)


def parameter(name: str) -> Parameter:
    """Returns the parameter of that name.

    Raises:
      KeyError: there is none.
    """
    return {declared.name: declared for declared in PARAMETERS}[name]


def compiled_parameters() -> tuple[Parameter, ...]:
    """Returns the parameters that a run of a compiled pipeline is started with."""
    return tuple(declared for declared in PARAMETERS if declared.compiled)


def compiled_settings() -> tuple[Parameter, ...]:
    """Returns those of a compiled pipeline that change the spec."""
    return tuple(declared for declared in compiled_parameters() if declared.section)


def settings_in(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the values that change the spec, for `RankingSpec.with_training`; a flag that is off changes nothing."""
    settings = {declared.name for declared in PARAMETERS if declared.section}
    return {name: value for name, value in values.items() if name in settings and value is not False}


def check_options(values: Mapping[str, Any]) -> None:
    """Checks values by the name of their parameter; None is no value.

    Raises:
      ValueError: a value can't be used; the message names the option that it came in.
      KeyError: there is no parameter of a name.
    """
    for name, value in values.items():
        if value is not None:
            declared = parameter(name)
            declared.check_value(value, declared.option)


def check_reference_start(spec: "RankingSpec", values: Mapping[str, Any], name: str) -> None:
    """Raises ValueError where a reference is to start from a model, and there is none or the ranker starts anew.

    Args:
      name: what the message calls the parameter.
    """
    if not values.get("start_reference_from"):
        return
    if not spec.trains_reference:
        raise ValueError(f"{name}: expected routing auto or `training.reference`; else no reference is trained")
    if not values.get("start_from"):
        raise ValueError(f"{name}: expected a model that the ranker starts from too (start_from)")


def markdown_table(parameters: Iterable[Parameter]) -> str:
    """Returns the table of docs/kubeflow.md: name, meaning and default of each parameter."""
    rows = [declared.table_row() for declared in parameters]
    return "\n".join(["| parameter | what | default |", "|---|---|---|", *rows])


if __name__ == "__main__":
    print(markdown_table(compiled_parameters()))
