"""`a3s-power service`: the server as a service of this system, started with the session or the machine."""

import os
import shutil
import subprocess
import sys
from html import escape
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from a3s_power import config, paths
from a3s_power.cli.options import BOOLEAN, Flag, command
from a3s_power.core.errors import BadRequest, NotSupported, PowerError

NAME: Final = "a3s-power"
_LABEL: Final = "dev.a3s.power"
_WORDS: Final = ("install", "uninstall", "status")
_UNIT: Final = """\
[Unit]
Description=A3S Power, a local model server
After=network-online.target
Wants=network-online.target

[Service]
ExecStart={command}
Environment=A3S_POWER_HOME={home}
Restart=on-failure
RestartSec=3
TimeoutStopSec=30
UMask=0077
NoNewPrivileges=yes
PrivateTmp=yes
ProtectSystem=strict
ReadWritePaths={folders}
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectControlGroups=yes
RestrictSUIDSGID=yes
RestrictRealtime=yes
LockPersonality=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK

[Install]
WantedBy={target}
"""
_PLIST: Final = """\
<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
  <key>Label</key><string>{label}</string>
  <key>ProgramArguments</key>
  <array>
{arguments}
  </array>
  <key>EnvironmentVariables</key><dict><key>A3S_POWER_HOME</key><string>{home}</string></dict>
  <key>RunAtLoad</key><true/>
  <key>KeepAlive</key><dict><key>SuccessfulExit</key><false/></dict>
  <key>StandardErrorPath</key><string>{log}</string>
  <key>Umask</key><integer>63</integer>
</dict>
</plist>
"""


class Manager(Protocol):
    """What starts services here."""

    @property
    def file(self) -> Path:
        """Where the service is written down."""

    def text(self) -> str:
        """What is written there."""

    def start(self) -> None:
        """Have it started, now and every time."""

    def stop(self) -> None:
        """Have it started no more."""

    def status(self) -> str:
        """What the manager says of it."""


@command(
    "service",
    Flag("--print", "Only print what install would write", BOOLEAN),
    least=1,
    most=1,
)
def service(words: tuple[str, ...], **said: bool) -> None:
    """Install the service, remove it, or say how it is."""
    if words[0] not in _WORDS:
        raise BadRequest(f'unknown word "{words[0]}" for "a3s-power service" (must be {", ".join(_WORDS)})')
    manager = manager_here()
    if said["print"]:
        print(manager.text(), end="")
    elif words[0] == "install":
        manager.file.parent.mkdir(parents=True, exist_ok=True)
        paths.base_folder().mkdir(parents=True, exist_ok=True)
        manager.file.write_text(manager.text(), "utf-8")
        manager.start()
        print(f"installed {manager.file}")
    elif words[0] == "uninstall":
        _uninstall(manager)
    else:
        print(manager.status() if manager.file.exists() else "not installed")


def _uninstall(manager: Manager) -> None:
    if not manager.file.exists():
        raise PowerError(f"{manager.file} is not there: nothing to uninstall")
    manager.stop()
    manager.file.unlink()
    print(f"removed {manager.file}; models and settings stay in {paths.base_folder()}")


def manager_here() -> Manager:
    """What is there, systemd or launchd. Raises NotSupported elsewhere."""
    if sys.platform == "darwin":
        return Launchd()
    if shutil.which("systemctl"):
        return Systemd(of_machine=os.geteuid() == 0)
    raise NotSupported("there is neither systemd nor launchd here: start `a3s-power serve` by what this system has")


class Systemd(NamedTuple):
    """A unit of the user, or of the machine when root asks."""

    of_machine: bool

    @property
    def file(self) -> Path:
        """The unit's file."""
        folder = Path("/etc") if self.of_machine else Path.home() / ".config"
        return folder / "systemd" / ("system" if self.of_machine else "user") / f"{NAME}.service"

    def text(self) -> str:
        """The unit: it may write where models and settings are, and nowhere else."""
        target = "multi-user.target" if self.of_machine else "default.target"
        command = " ".join(_quoted(part) for part in _serve())
        home = paths.base_folder()
        settings = config.load(paths.config_file()).config
        places = paths.places(data_dir=settings.data_dir, models=settings.models)
        folders = " ".join(_quoted(str(folder)) for folder in sorted({home, places.base, places.models.parent}))
        return _UNIT.format(command=command, home=_quoted(str(home)), folders=folders, target=target)

    def start(self) -> None:
        """Enable and start it."""
        self._ask("daemon-reload")
        self._ask("enable", "--now", NAME)

    def stop(self) -> None:
        """Stop and disable it."""
        self._ask("disable", "--now", NAME)

    def status(self) -> str:
        """Whether it runs."""
        return f"{self._said('is-active', NAME)}, {self._said('is-enabled', NAME)} ({self.file})"

    def _command(self, *words: str) -> list[str]:
        return ["systemctl", *([] if self.of_machine else ["--user"]), *words]

    def _ask(self, *words: str) -> None:
        _run(self._command(*words))

    def _said(self, *words: str) -> str:
        return subprocess.run(self._command(*words), capture_output=True, text=True, check=False).stdout.strip()  # noqa: S603


class Launchd(NamedTuple):
    """An agent of the user."""

    @property
    def file(self) -> Path:
        """The agent's property list."""
        return Path.home() / "Library" / "LaunchAgents" / f"{_LABEL}.plist"

    def text(self) -> str:
        """The property list."""
        arguments = "\n".join(f"    <string>{escape(part)}</string>" for part in _serve())
        base = paths.base_folder()
        log = paths.places().logs / "serve.log"
        return _PLIST.format(label=_LABEL, arguments=arguments, home=escape(str(base)), log=escape(str(log)))

    def start(self) -> None:
        """Load it."""
        paths.places().logs.mkdir(parents=True, exist_ok=True)
        _run(["launchctl", "load", "-w", str(self.file)])

    def stop(self) -> None:
        """Unload it."""
        _run(["launchctl", "unload", "-w", str(self.file)])

    def status(self) -> str:
        """What launchd says."""
        done = subprocess.run(["launchctl", "list", _LABEL], capture_output=True, text=True, check=False)  # noqa: S603, S607
        return f"{'running' if done.returncode == 0 else 'stopped'} ({self.file})"


def _serve() -> list[str]:
    return [sys.executable, "-m", "a3s_power", "serve"]


def _quoted(text: str) -> str:
    """A word of a unit's line."""
    plain = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{plain}"' if plain != text or " " in text else text


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 -- our own words
    if done.returncode:
        raise PowerError(f"{' '.join(command)}: {done.stderr.strip() or f'ended with {done.returncode}'}")
