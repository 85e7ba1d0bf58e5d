"""`GET /health` where something is wrong; where nothing is, the routes' own table has it."""

from pathlib import Path

from tests.fakes import FakeStatus, client, service


def test_what_the_machine_cannot_do_is_told_with_its_reasons(tmp_path: Path) -> None:
    reason = "graphics processor NVIDIA L4 (GPU-1) is gone"
    told = client(tmp_path, service(tmp_path, status=FakeStatus(degraded=(reason,)))).get("/health")
    assert told.status_code == 200
    assert (told.json()["status"], told.json()["degraded"]) == ("degraded", [reason])
