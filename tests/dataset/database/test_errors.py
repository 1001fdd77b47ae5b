import pytest
from pymongo.errors import AutoReconnect, DuplicateKeyError, ServerSelectionTimeoutError

from ntt_plugin.dataset.database.errors import database_errors, with_patience
from ntt_plugin.errors import DatasetError


@pytest.mark.parametrize("kind", [AutoReconnect, ServerSelectionTimeoutError])
def test_the_loss_of_the_database_says_what_to_do(kind):
    with (
        pytest.raises(DatasetError, match=r"does not answer \(refused\); start again") as said,
        database_errors("start again."),
    ):
        raise kind("refused")
    assert isinstance(said.value.__cause__, kind)


@pytest.mark.parametrize("kind", [DuplicateKeyError, KeyError])
def test_another_error_is_left_as_it_is(kind):
    with pytest.raises(kind), database_errors("start again."):
        raise kind("odd")


def test_it_decorates_a_function():
    @database_errors("start again.")
    def failing():
        raise AutoReconnect("refused")

    for _ in range(2):
        with pytest.raises(DatasetError, match="start again"):
            failing()


@pytest.mark.parametrize(("kind", "tries"), [(AutoReconnect, 2), (ServerSelectionTimeoutError, 1)])
def test_a_lost_connection_is_tried_once_more_but_not_after_waiting(kind, tries):
    calls = []

    def failing():
        calls.append(1)
        raise kind("refused")

    with pytest.raises(kind):
        with_patience(failing)
    assert len(calls) == tries
    answers = iter([AutoReconnect("closed"), "it is back"])

    def restarting():
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert with_patience(restarting) == "it is back"
