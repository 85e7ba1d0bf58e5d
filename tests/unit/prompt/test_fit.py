"""Prompts that fill the context and may not be cut."""

import pytest

from a3s_power.core.errors import PromptTooLong
from a3s_power.prompt.fit import TOO_LONG, refuse_too_long


def test_a_prompt_that_leaves_no_room_for_an_answer_is_refused() -> None:
    refuse_too_long(7, 8)
    with pytest.raises(PromptTooLong) as refused:
        refuse_too_long(8, 8)
    assert refused.value.message == TOO_LONG
    assert TOO_LONG.startswith("the prompt is longer than the context length currently available to the model; shorten")
