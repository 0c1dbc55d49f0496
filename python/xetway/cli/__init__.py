"""The command line: serving, tokens, transfers, the cache of a mirror, and what looks after a store.

Here are the options and how results are told; the work is done elsewhere and imported when a command runs, so that
`--help` is quick. What was asked for goes to stdout, everything else to stderr. Exit codes: 0 done, 1 failed or
found something wrong, 2 wrong usage.
"""

from __future__ import annotations

import os
import sys

from xetway.cli.root import xetway


def main() -> None:
    """Run a command; the console script."""
    # What a store keeps, contents of private repositories among it, is for the user it runs as. Commands that write
    # the user's own files put back what the shell had.
    sys.exit(run(sys.argv[1:], users_umask=os.umask(0o077)))


def run(arguments: list[str], users_umask: int | None = None) -> int:
    """Run a command and return its exit code; a failure is one line on stderr."""
    import click  # noqa: PLC0415

    from xetway.errors import ConfigError, XetwayError  # noqa: PLC0415

    try:
        result = xetway.main(args=arguments, prog_name="xetway", standalone_mode=False, obj=users_umask)
    except (KeyboardInterrupt, click.Abort):
        return 130
    except click.ClickException as error:
        error.show()
        code: int = error.exit_code
    except XetwayError as error:
        code = _failed(error.message, 2 if isinstance(error, ConfigError) else 1)
    except BrokenPipeError:
        code = 1
    except OSError as error:
        code = _failed(f"{error.strerror or error}" + (f": {error.filename}" if error.filename else ""), 1)
    except Exception as error:
        if os.environ.get("XETWAY_LOG_LEVEL") == "debug":
            raise
        code = _failed(f"{type(error).__name__}: {error} (XETWAY_LOG_LEVEL=debug tells more)", 1)
    else:
        code = result if isinstance(result, int) else 0
    return code


def _failed(message: str, code: int) -> int:
    from xetway.cli.printable import printable  # noqa: PLC0415

    print(f"xetway: {printable(' '.join(message.split()))}", file=sys.stderr)
    return code
