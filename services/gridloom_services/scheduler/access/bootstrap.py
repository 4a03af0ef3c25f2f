"""The first administrator's key: from a file, so that nobody must be let in to let others in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gridloom_services.common.errors import SettingsError
from gridloom_services.common.keys import SHAPE_WORDS, read_key

if TYPE_CHECKING:
    from pathlib import Path

    from gridloom_services.common.keys import ApiKey


def read_bootstrap_key(file: Path) -> ApiKey:
    """The key in the file. SettingsError where there is none; it never says what is there."""
    try:
        text = file.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"the first administrator's key cannot be read from {file}: {error}",
            field="bootstrap_admin_key_file",
        ) from error
    key = read_key(text)
    if key is None:
        raise SettingsError(
            f"{file} holds no API key; one is {SHAPE_WORDS}", field="bootstrap_admin_key_file"
        )
    return key
