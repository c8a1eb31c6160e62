"""How an answer at another gateway can fail, besides the ways in which every answer can."""

from ..errors import Overloaded, UpstreamFailed


class AnswerLost(UpstreamFailed):
    code = "answer_lost"
    outcome = "truncated"

    def __init__(self) -> None:
        super().__init__("the gateway that made this answer is gone; send the request again")


class AnswerOutOfReach(Overloaded):
    code = "answer_out_of_reach"

    def __init__(self) -> None:
        super().__init__(
            "if the answer exists, it is at another gateway, which cannot be asked now; try again later"
        )
