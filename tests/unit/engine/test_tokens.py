from engine.inference.tokens import Tokens

ANSWER = b'{"tokens":[1,22,333,4,5]}'


def test_tokens_are_counted_and_read() -> None:
    tokens = Tokens.from_answer(ANSWER)
    assert (tokens.count, tokens.all()) == (5, [1, 22, 333, 4, 5])
    assert Tokens.from_answer(b'{"tokens":[]}').all() == []


def test_the_middle_can_be_left_out() -> None:
    tokens = Tokens.from_answer(ANSWER)
    assert tokens.head_and_tail(2, 1) == [1, 22, 5]
    assert tokens.head_and_tail(0, 2) == [4, 5]
    assert tokens.head_and_tail(3, 0) == [1, 22, 333]
    assert tokens.head_and_tail(5, 0) == tokens.head_and_tail(3, 9) == tokens.all()


def test_those_of_an_earlier_answer_come_first() -> None:
    assert Tokens.from_answer(ANSWER).after([7, 8]).head_and_tail(3, 1) == [7, 8, 1, 5]
    assert Tokens.from_answer(b'{"tokens":[]}').after([7]).all() == [7]
    assert Tokens.from_answer(b'{"tokens":[]}').after([]).count == 0
