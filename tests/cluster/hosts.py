"""A lab made of this machine: hosts with an address, an sshd, processes and a /tmp of their own, at one switch.

A host is a network, PID, mount and UTS namespace whose process 1 is its sshd; when that ends, all of the host ends. It
ends with the process that made the lab, however that ends. No namespace has a name, so that none can be left behind.
The hosts share the kernel, the disk, the clock, and a folder that stands for the lab's NFS.
"""

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

TOOLS = ["ip", "nsenter", "rsync", "setpriv", "ssh", "ssh-keygen", "sshd", "unshare"]
HOME = "/run/lab/home"  # of root, on each host
NFS = "/mnt/lab"
PATH = f"{Path(sys.executable).parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# Arguments: the host's name, the lab's folder, and what must stay visible though it may lie in /tmp or /mnt.
BOOT = f"""
hostname "$1"; folder=$2; shift 2
mount -t tmpfs lab /run
mkdir -p /run/sshd {HOME} /run/lab/kept
cp "$folder"/ssh/* /run/lab
mount --bind /run/lab/passwd /etc/passwd
mount --bind /run/lab/shadow /etc/shadow
keep() {{ mkdir -p "/run/lab/kept/$1" && mount --bind "$1" "/run/lab/kept/$1"; }}
show() {{ mkdir -p "$2" && mount --bind "/run/lab/kept/$1" "$2"; }}
for path in "$folder/nfs" "$@"; do keep "$path"; done
for path in /tmp /mnt /dev/shm; do mount -t tmpfs -o mode=1777 lab "$path"; done
show "$folder/nfs" {NFS}
for path in "$@"; do show "$path" "$path"; done
cd /
echo
exec "$(command -v sshd)" -D -f /run/lab/sshd_config
"""

SSHD_CONFIG = """
HostKey /run/lab/host_key
AuthorizedKeysFile /run/lab/key.pub
PermitRootLogin prohibit-password
PasswordAuthentication no
StrictModes no
PidFile none
"""


def missing_tools():
    """What this machine lacks to make a lab; empty if it can."""
    return [tool for tool in TOOLS if not shutil.which(tool)] + ([] if os.geteuid() == 0 else ["root"])


class Host:
    """A machine of the lab."""

    def __init__(self, name, address, pid):
        self.name, self.address = name, address
        self.pid = pid  # of its process 1, as this machine counts

    def command(self, *command, cwd="/"):
        """A command line that runs a command on it."""
        enter = ["nsenter", f"--target={self.pid}", "--mount", "--uts", "--net", "--pid"]
        clean = ["env", "-i", f"HOME={HOME}", f"PATH={PATH}", "LANG=C.UTF-8"]
        return [*enter, *clean, "sh", "-c", 'cd "$0" && exec "$@"', str(cwd), *map(str, command)]

    def run(self, *command, cwd="/", timeout_s=300):
        """Run a command on it, to its end."""
        full = self.command(*command, cwd=cwd)
        return subprocess.run(
            full, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout_s, check=False
        )

    def processes(self):
        """The command lines of all its processes."""
        lines, own = [], Path(f"/proc/{self.pid}/ns/pid").readlink()
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it has ended in the meantime
                if (folder / "ns" / "pid").readlink() == own:
                    lines.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip())
        return lines


class Lab(contextlib.ExitStack):
    """A switch, and the hosts at it; all of it is gone at the end."""

    def __init__(self, folder):
        super().__init__()
        self.folder, self.nfs = Path(folder), Path(folder) / "nfs"
        self.hosts = {}
        self._make_keys()
        self._switch = self._unshare("--net", "--fork", "--kill-child", "sh", "-c", "echo; exec sleep infinity")
        _ip(self._switch, "link", "add", "switch", "type", "bridge")
        _ip(self._switch, "link", "set", "switch", "up")

    def add(self, name, keep=()):
        """Start a host; ``keep`` are paths that it sees though /tmp and /mnt are its own."""
        number = len(self.hosts) + 1
        address, port = f"10.77.0.{number}", f"port{number}"
        boot = ["bash", "-euc", BOOT, "boot", name, self.folder, sys.prefix, sys.base_prefix, *keep]
        own = ["--net", "--pid", "--fork", "--mount", "--mount-proc", "--uts", "--kill-child"]
        pid = self._unshare(*own, *map(str, boot))
        _ip(self._switch, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", str(pid))
        _ip(self._switch, "link", "set", port, "master", "switch", "up")
        _ip(pid, "address", "add", f"{address}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            _ip(pid, "link", "set", device, "up")
        _ip(pid, "route", "add", "default", "dev", "eth0")  # Ray asks it for its own address
        self.hosts[name] = Host(name, address, pid)
        return self.hosts[name]

    def link(self, host, state):
        """Set the link between a host and the switch ``up`` or ``down``."""
        _ip(self._switch, "link", "set", f"port{host.address.rpartition('.')[2]}", state)

    def _unshare(self, *arguments):
        """Start a process in new namespaces; return its process id when it has said a line."""
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "unshare", *arguments],
            env={"PATH": PATH, "LANG": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        self.enter_context(process)
        self.callback(process.kill)  # and with it, by --kill-child, all that runs there
        assert process.stdout.readline(), f"cannot start {arguments}"
        return int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text())

    def _make_keys(self):
        self.nfs.mkdir(parents=True)
        ssh = self.folder / "ssh"
        ssh.mkdir()
        for name in ("key", "host_key"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", ssh / name], check=True)
        (ssh / "sshd_config").write_text(SSHD_CONFIG)
        users = [line.split(":") for line in Path("/etc/passwd").read_text().splitlines()]
        users = [[*user[:5], HOME, "/bin/bash"] if user[0] == "root" else user for user in users]
        (ssh / "passwd").write_text("".join(":".join(user) + "\n" for user in users))
        (ssh / "shadow").write_text("root:*:19000:0:99999:7:::\n")  # no password, and not locked


def _ip(pid, *arguments):
    """Run ``ip`` in the network of a process."""
    subprocess.run(["nsenter", f"--target={pid}", "--net", "ip", *arguments], check=True)
