"""What somebody's model can do in its cell, told by a model that tries: nothing that is ours, and all of its own."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from phi3core.cell import cell, seccomp, syscalls
from tests.support.fakes import until
from tests.support.obedient import Model, serving

pytestmark = pytest.mark.skipif(bool(cell.why_none()), reason=f"there is no cell here: {cell.why_none()}")

SECRETS = {"PHI3_RECORD_KEY": "k1", "HF_TOKEN": "k2", "MLFLOW_TRACKING_TOKEN": "k3", "https_proxy": "http://u:k4@p"}

# What comes of sending with MSG_FASTOPEN on the socket that it listens on, shut down first.
FAST_OPEN = """
def fast_open(port):
    import ctypes, gc, socket
    gc.unfreeze()
    found = [one for one in gc.get_objects() if type(one) is socket.socket and one.fileno() >= 0]
    sock = next(one for one in found if one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    sock.shutdown(2)
    told, flag, address = [], 0x20000000, ("127.0.0.1", port)
    for send in (lambda: sock.sendto(b"x", flag, address), lambda: sock.sendmsg([b"x"], [], flag, address)):
        try:
            told.append(send())
        except OSError as error:
            told.append(type(error).__name__)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.sendmmsg(sock.fileno(), None, 1, flag)
    return [*told, os.strerror(ctypes.get_errno())]
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    place = tmp_path_factory.mktemp("cell")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SECRETS.items():
            patch.setenv(name, value)
        with serving(place / "model", memory=3_000_000_000) as served:
            yield served


# ---------------------------------------------------------------- what is ours


def test_its_environment_holds_no_variable_of_ours(model: Model) -> None:
    names = set(eval(model.does("sorted(os.environ)")))

    assert names >= {"PATH", "HOME"}
    assert not names & {*SECRETS, "PHI3_HOME", "MLFLOW_TRACKING_URI"}
    assert not [name for name in names if name.startswith("PHI3_")]


@pytest.mark.parametrize("file", ["environ", "cmdline", "status", "maps", "cwd", "fd"])
def test_it_sees_nothing_of_its_parents_process(model: Model, file: str) -> None:
    read = {"cwd": "os.listdir", "fd": "os.listdir"}.get(file, "(lambda path: open(path).read())")

    assert model.does(f"{read}(f'/proc/{{os.getppid()}}/{file}')") == "PermissionError"
    assert model.does("os.listdir('/proc')") == "PermissionError"


def test_it_reads_no_file_of_its_user(model: Model, tmp_path: Path) -> None:
    for name in (".streamlit/secrets.toml", "home/mlflow.db", "other-model/MLmodel"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("secret")

        assert model.does(f"open({str(tmp_path / name)!r}).read()") == "PermissionError"
        assert model.does(f"os.listdir({str((tmp_path / name).parent)!r})") == "PermissionError"
    assert model.does("os.listdir(os.path.expanduser('~root'))") == "PermissionError"
    assert model.does(f"open({str(Path(__file__).resolve())!r}).read()") == "PermissionError"


def test_a_link_in_its_files_leads_nowhere_but_into_them(model: Model, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (model.folder / "out").symlink_to(tmp_path / "secret")
    (model.folder / "in").symlink_to("MLmodel")

    assert model.does("(folder / 'out').read_text()") == "PermissionError"
    assert model.does("(folder / 'in').read_text()") == "'flavors: {}'"


def test_it_changes_no_file_but_in_its_own_folder(model: Model, tmp_path: Path) -> None:
    (tmp_path / "ours").write_text("as it was")
    mode = (tmp_path / "ours").stat().st_mode
    ours, mine = repr(str(tmp_path / "ours")), repr(str(model.folder / "MLmodel"))

    for act in (f"open({ours}, 'w')", f"os.remove({ours})", f"open({mine}, 'a')", f"os.truncate({mine}, 0)"):
        assert model.does(act) == "PermissionError"
    assert model.does(f"os.open({mine}, os.O_RDONLY | os.O_TRUNC)") == "PermissionError"
    assert model.does(f"os.chmod({ours}, 0o777)") == "None", "it is told so, and nothing is done"
    assert ((tmp_path / "ours").read_text(), (tmp_path / "ours").stat().st_mode) == ("as it was", mode)
    assert (model.folder / "MLmodel").read_text() == "flavors: {}"


@pytest.mark.parametrize("kind", ["AF_INET, socket.SOCK_STREAM", "AF_INET, socket.SOCK_DGRAM", "AF_UNIX", "AF_NETLINK"])
def test_it_opens_no_connection_of_any_kind(model: Model, kind: str) -> None:
    assert model.does(f"(socket := __import__('socket')) and socket.socket(socket.{kind})") == "PermissionError"


def test_the_socket_that_it_listens_on_connects_to_nothing(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, serving(tmp_path / "model") as model:
        model.does(f"exec({FAST_OPEN!r})")
        told = model.does(f"fast_open({server.getsockname()[1]})")

        assert told == "['PermissionError', 'PermissionError', 'Operation not permitted']"
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()


def test_it_starts_no_process(model: Model) -> None:
    assert model.does("[os.fork() for _ in range(1000)]") == "PermissionError"
    assert model.does("subprocess.run(['true'])") == "PermissionError"
    assert model.does("os.execv('/bin/true', ['true'])") == "PermissionError"


def test_it_signals_no_process_but_itself(model: Model) -> None:
    assert model.does("os.kill(os.getppid(), 0)") == "PermissionError"
    assert model.does("os.kill(-1, 0)") == "PermissionError"
    assert model.does("os.setpriority(os.PRIO_USER, 0, 19)") == "PermissionError"
    assert model.does("__import__('resource').prlimit(os.getppid(), 7)") == "PermissionError"
    assert model.does("os.kill(os.getpid(), 0)") == "None"


def test_it_takes_no_more_memory_than_it_was_given(model: Model) -> None:
    assert model.does("len(bytearray(3_000_000_000))") == "MemoryError"


def test_no_file_of_it_fills_the_disk(model: Model) -> None:
    assert model.does("(f := open('large', 'wb')).seek(999_999_999) and f.write(b'xx') and f.flush()") == "OSError"
    assert model.does("os.remove('large')") == "None"


# ---------------------------------------------------------------- what is its own


def test_it_reads_its_files_and_its_libraries_and_has_threads(model: Model) -> None:
    assert model.does("(folder / 'MLmodel').read_text()") == "'flavors: {}'"
    assert model.does("__import__('json.tool') and __import__('yaml').safe_load('a: 1')") == "{'a': 1}"
    assert model.does("(t := __import__('threading').Thread(target=print)).start() or t.join()") == "None"
    assert model.does("__import__('psutil').virtual_memory().total > 0") == "True"
    assert model.does("open(f'/proc/self/status').read(4)") == "'Name'"


def test_what_it_writes_is_in_a_folder_that_goes_with_it(tmp_path: Path) -> None:
    with serving(tmp_path / "writer") as model:
        home = Path(eval(model.does("os.environ['HOME']")))
        assert model.does("__import__('shutil').copy2(folder / 'MLmodel', 'copy') and os.mkdir('sub')") == "None"
        assert {path.name for path in home.iterdir()} == {"copy", "sub"}
        assert 0 < (seen := model.child.disk_used()) < 1_000_000
        model.does("(f := open('gone', 'wb')).write(b'x' * 3_000_000) and f.flush()")
        assert model.does("os.remove('gone')") == "None"
        assert model.child.disk_used() == seen + 3_000_000

    until(lambda: not home.exists())


def test_a_model_that_may_use_the_network_is_told_the_proxy_and_connects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    with socket.create_server(("127.0.0.1", 0)) as server, serving(tmp_path / "online", network=True) as model:
        threading.Thread(target=server.accept, daemon=True).start()
        port = server.getsockname()[1]

        assert model.does(f"__import__('socket').create_connection(('127.0.0.1', {port})).close()") == "None"
        assert model.does("__import__('socket').getaddrinfo('localhost', 80) != []") == "True"
        assert model.does("os.environ['https_proxy']") == "'http://u:k4@p'"
        assert model.does("sorted(name for name in os.environ if 'TOKEN' in name or 'KEY' in name)") == "[]"
        assert model.does("os.kill(os.getppid(), 0)") == "PermissionError"


# ---------------------------------------------------------------- how it is entered


def test_a_process_with_another_thread_is_not_shut_in(tmp_path: Path) -> None:
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        with pytest.raises(cell.ServerError, match="threads before it is shut in, and must have one"):
            cell.enter(cell.Cell((), tmp_path))
    finally:
        stop.set()
        thread.join()


def test_every_call_that_is_named_has_a_number() -> None:
    named = {*seccomp._REFUSED.split(), *seccomp._IGNORED.split(), *seccomp._NETWORK, *seccomp._SENDS}
    named |= {*seccomp._ONLY_OWN}
    numbers = syscalls.MACHINES["x86_64"][1]

    assert named <= set(numbers)
    assert len(set(numbers.values())) == len(numbers)
    assert max(numbers.values()) < syscalls.LAST
