from engine.tokens import Tokens

ANSWER = b'{"tokens":[1,22,333,4,5]}'


def test_tokens_are_counted_and_read() -> None:
    tokens = Tokens.of_answer(ANSWER)
    assert (tokens.count, tokens.all()) == (5, [1, 22, 333, 4, 5])
    assert Tokens.of_answer(b'{"tokens":[]}').all() == []


def test_the_middle_can_be_left_out() -> None:
    tokens = Tokens.of_answer(ANSWER)
    assert tokens.ends(2, 1) == [1, 22, 5]
    assert tokens.ends(0, 2) == [4, 5]
    assert tokens.ends(3, 0) == [1, 22, 333]
    assert tokens.ends(5, 0) == tokens.ends(3, 9) == tokens.all()


def test_those_of_an_earlier_answer_come_first() -> None:
    assert Tokens.of_answer(ANSWER).after([7, 8]).ends(3, 1) == [7, 8, 1, 5]
    assert Tokens.of_answer(b'{"tokens":[]}').after([7]).all() == [7]
    assert Tokens.of_answer(b'{"tokens":[]}').after([]).count == 0
