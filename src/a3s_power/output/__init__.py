"""Text becomes events: thinking and tool calls told apart from the answer, however the text was cut. Pure."""
