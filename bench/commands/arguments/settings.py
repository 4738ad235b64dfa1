"""`place-bench settings`."""

from __future__ import annotations

from typing import Annotated

import typer

from bench.commands.arguments.common import ProfileName, ProfileOption


def settings(
    name: Annotated[
        str,
        typer.Argument(
            metavar="[NAME]",
            help=(
                "A task, a kind of task, a pre-training method or an encoder. Without one: what "
                "can be named."
            ),
        ),
    ] = "",
    protocol: Annotated[
        str, typer.Option(help="Of a task or kind: default, or a published procedure.")
    ] = "default",
    profile: ProfileOption = ProfileName.demo,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Show what would hold with this change; may be given more than once.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
    markdown: Annotated[
        bool,
        typer.Option("--markdown", help="Print docs/settings.md: all of them, as Markdown tables."),
    ] = False,
) -> None:
    """Explain settings: the value of each under a protocol and profile, its default, what it may be
    and what it means.

    Behind a value stands what changed it: the task, the protocol, the profile, or what the task
    says of itself under a protocol.

    Examples: `place-bench settings siim_seg --protocol mgca --profile paper` (a head),
    `place-bench settings place` (what `pretrain` takes), `place-bench settings timm` (an encoder
    from elsewhere)
    """
    from bench.commands.settings import Asked, settings_command
    from bench.core.settings import parse_pairs

    settings_command(
        Asked(name, protocol, profile.value, parse_pairs(changes or [])),
        as_json=as_json,
        markdown=markdown,
    )
