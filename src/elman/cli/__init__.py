"""The command line: each command is short and calls one function of a room."""

from __future__ import annotations

import os
import sys
import traceback
from typing import Annotated, Any

import typer

from elman.cli.diagnose import diagnose
from elman.cli.output import ClosedOutput, write_text
from elman.cli.train import INTERRUPTED, list_recipes, train
from elman.cli.use import evaluate, generate, predict
from elman.errors import ElmanError

app = typer.Typer(
    help="Recurrent neural networks: train, evaluate, predict, generate, diagnose.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (train, evaluate, predict, generate, diagnose):
    app.command()(command)
app.command("recipes")(list_recipes)

USER_ERROR, INTERNAL_ERROR = 2, 1
"""Exit codes, beside 0 for success and `INTERRUPTED` for Ctrl-C."""


def main() -> None:
    """Run the command line: 0 for success, 2 for a mistake of the user, 1 for a bug in elman, 130 for Ctrl-C."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run a command and return its exit code; errors are printed on standard error."""
    try:
        code = app(arguments, standalone_mode=False)
        return code if isinstance(code, int) else 0
    except ElmanError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return USER_ERROR
    except ClosedOutput:
        # Standard output is pointed at nothing, so that closing it does not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (KeyboardInterrupt, typer.Abort):
        print("interrupted", file=sys.stderr)  # noqa: T201
        return INTERRUPTED
    except Exception as error:
        if isinstance(error, usage_error()):
            error.show()
            return USER_ERROR
        traceback.print_exc()
        print("internal error: this is a bug in elman, please report it", file=sys.stderr)  # noqa: T201
        return INTERNAL_ERROR


def usage_error() -> Any:
    """Return the exception that typer raises for a command line that it cannot read."""
    parents = typer.BadParameter.__mro__
    return next(parent for parent in reversed(parents) if hasattr(parent, "show"))


@app.callback(invoke_without_command=True)
def version(
    show: Annotated[bool, typer.Option("--version", is_eager=True, help="Show the version and exit.")] = False,
) -> None:
    """Recurrent neural networks: train, evaluate, predict, generate, diagnose."""
    if show:
        from elman import __version__

        write_text(f"elman {__version__}\n")
        raise typer.Exit
