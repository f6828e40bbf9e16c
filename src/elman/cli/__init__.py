"""The command line: each command is short and calls one function of a room."""

from __future__ import annotations

import sys
import traceback
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from elman.cli.diagnose import diagnose
from elman.cli.explore import explore
from elman.cli.export import export
from elman.cli.output import ClosedOutput, abandon_output, printed_streams, trusted_output, write_text
from elman.cli.serve import serve
from elman.cli.train import INTERRUPTED, list_recipes, train
from elman.cli.use import evaluate, generate, predict
from elman.errors import ElmanError


class Command(TyperCommand):
    """A command, whose help has colours on a terminal."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help, which quotes nothing."""
        with trusted_output():
            super().format_help(ctx, formatter)


class Commands(TyperGroup):
    """All commands."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help, which quotes nothing."""
        with trusted_output():
            super().format_help(ctx, formatter)


app = typer.Typer(
    cls=Commands,
    help="Recurrent neural networks: train, evaluate, predict, generate, diagnose, explore, export.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (train, evaluate, predict, generate, diagnose, explore, export, serve):
    app.command(cls=Command)(command)
app.command("recipes", cls=Command)(list_recipes)

USER_ERROR, INTERNAL_ERROR = 2, 1
"""Exit codes, beside 0 for success and `INTERRUPTED` for Ctrl-C."""


def main() -> None:
    """Run the command line: 0 for success, 2 for a mistake of the user, 1 for a bug in elman, 130 for Ctrl-C."""
    code = run(sys.argv[1:])
    abandon_output()
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """Run a command and return its exit code; errors are printed on standard error."""
    with printed_streams():
        return _run(arguments)


def _run(arguments: list[str]) -> int:
    try:
        code = app(arguments, standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except ElmanError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return USER_ERROR
    except ClosedOutput:
        return 0
    except (KeyboardInterrupt, typer.Abort):
        print("interrupted", file=sys.stderr)  # noqa: T201
        return INTERRUPTED
    except Exception as error:
        if isinstance(error, usage_error()):
            if message := usage_message(error):
                print(message, file=sys.stderr)  # noqa: T201
            return USER_ERROR
        traceback.print_exc()
        print("internal error: this is a bug in elman, please report it", file=sys.stderr)  # noqa: T201
        return INTERNAL_ERROR


def usage_message(error: Any) -> str:
    """Return what is wrong with a command line, and how the command is used; empty where the help is the answer."""
    if error.ctx is None or not error.format_message():
        return f"error: {error.format_message()}" if error.format_message() else ""
    usage, path = error.ctx.get_usage(), error.ctx.command_path
    return f"error: {error.format_message()}\n{usage}\n{path} --help shows what there is"


def usage_error() -> Any:
    """Return the exception that typer raises for a command line that it cannot read."""
    parents = typer.BadParameter.__mro__
    return next(parent for parent in reversed(parents) if hasattr(parent, "show"))


@app.callback(invoke_without_command=True)
def version(
    show: Annotated[bool, typer.Option("--version", is_eager=True, help="Show the version and exit.")] = False,
) -> None:
    """Recurrent neural networks: train, evaluate, predict, generate, diagnose, explore, export."""
    if show:
        from elman import __version__

        write_text(f"elman {__version__}\n")
        raise typer.Exit
