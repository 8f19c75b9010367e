"""`schema`: the JSON Schema of the YAML files."""

from __future__ import annotations

from pathlib import Path

import click

from lakeflow_job_meta.errors import UsageError


@click.command()
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write it there instead."
)
def schema(out: Path | None) -> None:
    """Print the JSON Schema (draft 2020-12) of the YAML files, for editors.

    Put `# yaml-language-server: $schema=./metadata.schema.json` on top of a YAML file.
    """
    import json

    from lakeflow_job_meta.metadata.schema import schema as published

    text = json.dumps(published(), indent=2, ensure_ascii=True) + "\n"
    if out is None:
        click.echo(text, nl=False)
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as e:
        raise UsageError(f"cannot write {out}: {e.strerror}; choose another file with --out") from e
    click.echo(f"wrote {out}", err=True)
