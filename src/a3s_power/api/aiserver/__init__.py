"""The AI Server's dialect: four routes of an older server for models of Hugging Face, over the models of this one."""

from typing import Final

from a3s_power.api.aiserver.answers import refusal
from a3s_power.api.aiserver.chat import ChatRequest, chat
from a3s_power.api.aiserver.models import models
from a3s_power.api.aiserver.pull import PullRequest, pull
from a3s_power.api.aiserver.status import status
from a3s_power.api.endpoint import Endpoint

ENDPOINTS: Final = (
    Endpoint(("POST",), "/pull", "manage", pull, refusal, PullRequest),
    Endpoint(("POST",), "/chat", "infer", chat, refusal, ChatRequest),
    Endpoint(("GET",), "/models", "read", models, refusal),
    Endpoint(("GET",), "/status", "read", status, refusal),
)
