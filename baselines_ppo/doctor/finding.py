"""The result of one check."""

from __future__ import annotations

from dataclasses import dataclass

OK, NOTE, FIX = "ok", "note", "fix"


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        name: what was checked.
        value: what was found, on one line.
        fix: what to do; "" if nothing has to be done.
        required: whether training needs it. If not, a missing part is a note and no failure.
    """

    name: str
    value: str
    fix: str = ""
    required: bool = True

    @property
    def status(self) -> str:
        """`OK`; or, with a `fix`, `FIX` for a required part and `NOTE` for an optional one."""
        if not self.fix:
            return OK
        return FIX if self.required else NOTE

    def __str__(self) -> str:
        advice = f"; {self.fix}" if self.fix else ""
        return f"{self.status:<5}{self.name:<24}{self.value}{advice}"
