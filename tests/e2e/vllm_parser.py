"""Run by the interpreter that has vLLM: its own parser judges command lines.

Reads a JSON list of argument lists from stdin, each as it follows `vllm`, and writes a JSON list
of what is wrong with each, empty where nothing is.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from importlib import import_module
from typing import Any


def main() -> None:
    """Judge every command line."""
    # Whatever vLLM prints on its way goes to stderr.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    parser = _parser()
    answers.write(json.dumps([_fault(parser, argv) for argv in json.load(sys.stdin)]))
    answers.flush()
    os._exit(0)  # vLLM leaves threads behind.


def _parser() -> Any:  # noqa: ANN401 - of vLLM
    """The parser of `vllm serve`, made as vllm/entrypoints/cli/main.py makes it."""
    # By name, as the interpreter that checks types has no vLLM.
    utils = import_module("vllm.utils.argparse_utils")
    serve = import_module("vllm.entrypoints.cli.serve")
    parser = utils.FlexibleArgumentParser(description="vLLM CLI")
    serve.ServeSubcommand().subparser_init(parser.add_subparsers(required=True, dest="subparser"))
    return parser


def _fault(parser: Any, argv: list[str]) -> str:  # noqa: ANN401 - of vLLM
    engine = import_module("vllm.engine.arg_utils")
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            parsed = parser.parse_args(argv)
            parsed.model = parsed.model_tag
            engine.AsyncEngineArgs.from_cli_args(parsed)
    except SystemExit:
        return said.getvalue().strip() or "the parser ended without a word"
    except Exception as error:  # noqa: BLE001 - whatever vLLM raises is its verdict
        return f"{type(error).__name__}: {error}"
    return ""


if __name__ == "__main__":
    main()
