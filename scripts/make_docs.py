"""Writes the generated pages of docs/ and the example configuration; tests keep them up to date."""

from __future__ import annotations

from pathlib import Path

from relevo.cli import reference as cli_reference
from relevo.config import reference
from relevo.hooks.contract import reference as hooks_reference
from relevo.smtp import states

ROOT = Path(__file__).resolve().parents[1]

if __name__ == "__main__":
    reference.main(ROOT)
    cli_reference.main(ROOT)
    (ROOT / "docs" / "reference" / "hooks.md").write_text(hooks_reference.reference_page())
    (ROOT / "docs" / "reference" / "smtp-states.md").write_text(states.reference_page())
