"""How a hook in Python refuses: it raises one of these."""

from __future__ import annotations


class Refusal(Exception):
    """The reply for the client. `code` and `enhanced`: those of the stage if left out."""

    verdict = ""

    def __init__(self, text: str = "", *, code: int = 0, enhanced: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.code = code
        self.enhanced = enhanced

    def as_answer(self) -> dict[str, object]:
        """As the contract has it; what is left out has its default."""
        answer = {"text": self.text, "code": self.code, "enhanced": self.enhanced}
        return {"verdict": self.verdict, **{name: v for name, v in answer.items() if v}}


class Reject(Refusal):
    """For good."""

    verdict = "reject"


class TempFail(Refusal):
    """For now."""

    verdict = "tempfail"
