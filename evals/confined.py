"""The process in which one generated program runs; evals/sandbox.py starts it, nothing imports it.

    python -I -S -B confined.py '{"nonce": …, "report": 5, …}' < program.py

It reads the program, gives up for good what the program must not have, says on the report pipe how each of these is refused, and runs it:

    network     a network namespace of its own (user_namespaces(7)), else a system-call filter (seccomp(2)), else Python's audit hook
    files       Landlock (landlock(7)): its own folder to write, Python's library to read, nothing else; else the audit hook
    processes   the filter: no fork, no thread, no other program; else RLIMIT_NPROC and the audit hook

Limits (setrlimit(2)) hold everywhere. Only the standard library, for it runs without site-packages.
"""

import ctypes
import json
import os
import platform
import resource
import struct
import sys

_NEWUSER, _NEWNET, _NEWIPC = 0x10000000, 0x40000000, 0x08000000
_NO_NEW_PRIVS, _SET_SECCOMP, _FILTER = 38, 22, 2
# Audit architecture and the numbers of: socket, socketpair, connect, bind, sendto, clone, execve, execveat, ptrace, kill, tkill, unshare,
# setns, mount, bpf, keyctl, process_vm_writev; x86_64 has fork and vfork too.
_CALLS = {
    "x86_64": (0xC000003E, (41, 53, 42, 49, 44, 56, 57, 58, 59, 322, 101, 62, 200, 272, 308, 165, 321, 250, 311)),
    "aarch64": (0xC00000B7, (198, 199, 203, 200, 206, 220, 221, 281, 117, 129, 130, 97, 268, 40, 280, 219, 271)),
}
# The same everywhere: pidfd_send_signal, io_uring_setup, clone3.
_NEW_CALLS = (424, 425, 435)
_READ, _WRITE_FILE = 0b1101, 0b10
_AUDITED = {
    "network": ("socket.",),
    "processes": ("subprocess.", "os.system", "os.fork", "os.exec", "os.posix_spawn", "os.spawn", "pty.", "os.kill"),
    "files": ("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.truncate", "os.chmod", "os.chown", "os.link", "os.symlink", "shutil."),
}


def main() -> None:
    """Confine this process, then run what came on stdin; the verdict goes to the report pipe."""
    config = json.loads(sys.argv[1])
    source = sys.stdin.buffer.read()
    report, write, leave = config["report"], os.write, os._exit
    folder = os.getcwd()
    _limit(config)
    layers = config["layers"]
    how = _confine(folder, kernel="kernel" in layers)
    if "hook" in layers:
        _audit(folder)
    write(report, json.dumps(how).encode() + b"\n")
    nonce = config.pop("nonce").encode()
    del sys.argv[1:]
    try:
        exec(compile(source, "<generated>", "exec"), {"__name__": "__main__"})
        said = b"passed"
    except BaseException as error:
        said = f"{type(error).__name__}: {error}".encode(errors="replace")[:500]
    write(report, nonce + b" " + said)
    leave(0)


def _limit(config: dict[str, int]) -> None:
    wanted = {
        resource.RLIMIT_CPU: config["cpu_s"],
        resource.RLIMIT_AS: config["memory_bytes"],
        resource.RLIMIT_FSIZE: config["file_bytes"],
        resource.RLIMIT_NOFILE: config["open_files"],
        resource.RLIMIT_CORE: 0,
    }
    for limit, value in wanted.items():
        _lower(limit, value)


def _lower(limit: int, value: int) -> bool:
    _, hard = resource.getrlimit(limit)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    try:
        # The processor's limit is told with SIGXCPU at the soft one, and SIGKILL at the hard one.
        resource.setrlimit(limit, (value, value + (limit == resource.RLIMIT_CPU)))
    except (ValueError, OSError):
        # macOS has limits that it does not let go down.
        return False
    return True


def _confine(folder: str, *, kernel: bool) -> dict[str, str]:
    """How each thing is refused from now on; without `kernel` only Python's hook and the limits are left, as on other systems."""
    how = dict.fromkeys(_AUDITED, "audit hook")
    if kernel and sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        alone = libc.unshare(_NEWUSER | _NEWNET | _NEWIPC) == 0 or libc.unshare(_NEWNET) == 0
        libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0)
        if _landlock(libc, folder):
            how["files"] = "landlock"
        if filtered := _seccomp(libc):
            how["processes"] = "system-call filter"
        if alone or filtered:
            how["network"] = "namespace" if alone else "system-call filter"
    if how["processes"] == "audit hook" and _lower(resource.RLIMIT_NPROC, 0):
        how["processes"] = "limit"
    return how


def _landlock(libc: ctypes.CDLL, folder: str) -> bool:
    """Everything in `folder`, reading in Python's own folders, nothing elsewhere; no signals to processes outside where it can say so."""
    create, add, restrict = 444, 445, 446
    abi = libc.syscall(create, None, 0, 1)
    # Truncation is governed since version 3.
    if abi < 3:
        return False
    rights = 0xFFFF if abi >= 5 else 0x7FFF
    attributes = struct.pack("QQQ", rights, 0b11, 0b11)[: 8 if abi < 4 else 16 if abi < 6 else 24]
    rules = libc.syscall(create, attributes, len(attributes), 0)
    if rules < 0:
        return False
    reading = {sys.base_prefix, sys.base_exec_prefix, "/usr", "/lib", "/lib64"}
    for path, access in [(folder, rights), ("/dev/null", _READ & 0b100 | _WRITE_FILE), *((path, _READ) for path in reading)]:
        try:
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue
        libc.syscall(add, rules, 1, struct.pack("=Qi", access, place), 0)
        os.close(place)
    done = libc.syscall(restrict, rules, 0) == 0
    os.close(rules)
    return bool(done)


def _seccomp(libc: ctypes.CDLL) -> bool:
    """Refuse, with EPERM, the calls above; a small program for the kernel's filter, from linux/filter.h and linux/seccomp.h."""
    if platform.machine() not in _CALLS:
        return False
    arch, calls = _CALLS[platform.machine()]
    calls += _NEW_CALLS
    load, equal, at_least, answer = 0x20, 0x15, 0x35, 0x06
    lines = [(load, 0, 0, 4), (equal, 1, 0, arch), (answer, 0, 0, 0x80000000), (load, 0, 0, 0)]
    # Numbers from 0x40000000 on are x86_64's second set (x32).
    lines.append((at_least, len(calls) + 1, 0, 0x40000000))
    lines += [(equal, len(calls) - place, 0, number) for place, number in enumerate(calls)]
    lines += [(answer, 0, 0, 0x7FFF0000), (answer, 0, 0, 0x00050001)]
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in lines))
    pointer = struct.pack("HxxxxxxQ", len(lines), ctypes.addressof(program))
    return bool(libc.prctl(_SET_SECCOMP, _FILTER, ctypes.create_string_buffer(pointer), 0, 0) == 0)


def _audit(folder: str) -> None:
    """Python's own refusal: it cannot be taken back, and says what was wrong."""
    refused = tuple(prefix for prefixes in _AUDITED.values() for prefix in prefixes if prefix not in _AUDITED["files"])
    within = os.path.realpath(folder) + os.sep
    changing = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

    def outside(path: object) -> bool:
        return isinstance(path, (str, bytes)) and not (os.path.realpath(os.fsdecode(path)) + os.sep).startswith(within)

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event.startswith(refused) or event.startswith("ctypes.dlopen"):
            raise PermissionError(f"generated code may not use {event}")
        if event == "open" and isinstance(arguments[2], int) and arguments[2] & changing and outside(arguments[0]):
            raise PermissionError(f"generated code may not write to {arguments[0]!r}")
        if event.startswith(_AUDITED["files"]) and any(outside(argument) for argument in arguments):
            raise PermissionError(f"generated code may not use {event} outside its folder")

    sys.addaudithook(hook)


if __name__ == "__main__":
    main()
