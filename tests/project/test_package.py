"""What pip installs: one package, `samcam`, that works away from a checkout, beside any files."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.conftest import REPO_ROOT
from tests.helpers.bounds import RUN_TIMEOUT_S
from tests.project.test_project import pyproject

ROOMS = ("engines", "export", "guides", "kalman", "live", "memory", "samcam", "system")
PAGES = ("README.md", "docs/python_api.md")
DEMO = "--source demo --set source.demo_frames=3 --prompt box=300,150,420,300 --output masks:m"


def run(command: list[str], cwd: Path) -> str:
    """Run a command that must succeed; returns its stdout."""
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=RUN_TIMEOUT_S, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def refusal(command: list[str], cwd: Path) -> str:
    """Run an exporter that cannot do its work; returns the one line that it says."""
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=RUN_TIMEOUT_S, check=False
    )
    assert done.returncode == 4, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def copy_sources(target: Path) -> None:
    """Copy what a wheel is built from; a build inside the checkout would leave its traces there."""
    target.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "run_live.py"):
        shutil.copy(REPO_ROOT / name, target)
    (target / "training").mkdir()
    shutil.copy(REPO_ROOT / "training/ATTRIBUTION.md", target / "training")
    for package in ROOMS:
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPO_ROOT / package, target / package, ignore=ignore)


def build(kind: str, source: Path, target: Path) -> Path:
    """Build a wheel, an sdist or an editable wheel as pip lets the backend do; needs no network."""
    settings = {"editable_mode": "strict"} if kind == "editable" else {}
    script = (
        "import sys, setuptools.build_meta as backend; "
        f"print(backend.build_{kind}(sys.argv[1], {settings}))"
    )
    target.mkdir(exist_ok=True)
    name = run([sys.executable, "-c", script, str(target)], source).splitlines()[-1]
    return target / name


class Installed:
    """An environment of its own with SamCam; the dependencies are those of this environment."""

    def __init__(self, folder: Path, wheel: Path) -> None:
        run([sys.executable, "-m", "venv", "--without-pip", "venv"], folder)
        self.scripts = folder / "venv" / ("Scripts" if sys.platform == "win32" else "bin")
        self.python = str(self.scripts / "python")
        pip = [sys.executable, "-m", "pip", "--python", self.python]
        run([*pip, "install", "--quiet", "--no-deps", str(wheel)], folder)
        where = [self.python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
        self.site_packages = Path(run(where, folder).strip())
        borrowed = self.site_packages / "borrowed.pth"
        borrowed.write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
        self.wheel = wheel


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("package")
    copy_sources(folder / "source")
    return Installed(folder, build("wheel", folder / "source", folder / "wheels"))


def test_every_room_is_packed() -> None:
    """The list of packages is written out; a room that it forgets would be missing for users."""
    folders = {p.parent for room in ROOMS for p in (REPO_ROOT / room).rglob("__init__.py")}
    names = {".".join(folder.relative_to(REPO_ROOT).parts) for folder in folders}
    rooms = {name if name == "samcam" else f"samcam.{name}" for name in names}
    assert set(pyproject()["tool"]["setuptools"]["packages"]) == rooms


@pytest.mark.slow
def test_a_wheel_gives_one_top_level_name(installed: Installed) -> None:
    names = zipfile.ZipFile(installed.wheel).namelist()
    tops = {name.partition("/")[0] for name in names}
    assert {re.sub(r"-.*\.dist-info$", ".dist-info", top) for top in tops} == {
        "samcam",
        "samcam.dist-info",
    }
    assert "samcam/py.typed" in names
    assert "samcam/engines/nano/manifest.json" in names
    assert any(name.endswith("licenses/training/ATTRIBUTION.md") for name in names)


@pytest.mark.slow
@pytest.mark.parametrize("start", ["script", "module"])
def test_a_wheel_tracks_the_demo(start: str, installed: Installed, tmp_path: Path) -> None:
    """From a folder with another program's config.yaml; the embedded model is inside."""
    program = [str(installed.scripts / "samcam")]
    if start == "module":
        program = [installed.python, "-m", "samcam"]
    else:
        assert run([*program, "--help"], tmp_path).startswith("usage: samcam [-h]")
    (tmp_path / "config.yaml").write_text("model: resnet50\n", encoding="utf-8")
    hint = "from samcam.system import install; print(install('heif'))"
    assert run([installed.python, "-c", hint], tmp_path) == 'pip install "samcam[heif]"\n'
    origin = run([installed.python, "-c", "import samcam; print(samcam.__file__)"], tmp_path)
    assert Path(origin.strip()).is_relative_to(installed.site_packages)
    run([*program, *DEMO.split()], tmp_path)
    assert len(list((tmp_path / "m").glob("*.png"))) == 3


@pytest.mark.slow
def test_the_exporter_of_a_wheel_says_what_it_needs(installed: Installed, tmp_path: Path) -> None:
    """An `export.py` of the user's beside it changes nothing; nano comes from a checkout."""
    (tmp_path / "export.py").write_text("", encoding="utf-8")
    usage = run([installed.python, "-m", "samcam.export", "--help"], tmp_path)
    assert usage.startswith("usage: python -m samcam.export")
    exporter = [installed.python, "-m", "samcam.export"]
    (tmp_path / "training").mkdir()  # the user's own: what the exporter asks for is not in there
    for words in ("nano --out x", "sam2.1-tiny --precision int8 --checkpoint none.pt"):
        said = refusal([*exporter, *words.split()], tmp_path)
        assert said.endswith("training/, which a checkout of SamCam has\n")
    said = refusal([*exporter, *["sam2.1-tiny", "--checkpoint", "none.pt"]], tmp_path)
    assert "none.pt" in said
    assert "training" not in said


@pytest.mark.slow
def test_an_editable_installation_works_from_another_folder(tmp_path: Path) -> None:
    """The rooms are found without the checkout's folder on the path; hints name what is there."""
    source = tmp_path / "source"
    copy_sources(source)
    wheel = build("editable", source, tmp_path / "wheels")
    assert not [n for n in zipfile.ZipFile(wheel).namelist() if n.startswith("samcam/")]
    installed = Installed(tmp_path, wheel)
    away = tmp_path / "away"
    away.mkdir()
    script = "import samcam.system.command_names as c; print(c.checkout(), c.exporter())"
    said = run([installed.python, "-c", script], away)
    assert said == f"{source} python -m samcam.export\n"
    run([str(installed.scripts / "samcam"), *DEMO.split()], away)
    assert len(list((away / "m").glob("*.png"))) == 3
    for words in ("nano", "sam2.1-tiny --precision int8 --checkpoint none.pt"):
        hint = refusal([installed.python, "-m", "samcam.export", *words.split()], away)
        assert hint.endswith(f"checkout of SamCam has; run it in the checkout's folder, {source}\n")


@pytest.mark.slow
def test_a_users_own_modules_stay_theirs(installed: Installed, tmp_path: Path) -> None:
    """A `memory.py` beside the user's script once broke the library."""
    for name in ("memory", "guides", "engines", "live", "kalman", "export", "system"):
        (tmp_path / f"{name}.py").write_text("SIZE = 5\n", encoding="utf-8")
    script = "import memory, live\nfrom samcam import Tracker\nprint(memory.SIZE, Tracker)\n"
    (tmp_path / "app.py").write_text(script, encoding="utf-8")
    said = run([installed.python, "app.py"], tmp_path)
    assert said == "5 <class 'samcam.live.tracker.tracker.Tracker'>\n"


@pytest.mark.slow
def test_another_package_called_live_is_no_checkout(installed: Installed, tmp_path: Path) -> None:
    """Beside an installed `samcam` stand the packages of everybody."""
    other = installed.site_packages / "live"
    other.mkdir()
    (other / "__init__.py").touch()
    try:
        script = "import samcam; print(*samcam.__path__)"
        said = run([installed.python, "-c", script], tmp_path)
    finally:
        shutil.rmtree(other)
    assert said == f"{installed.site_packages / 'samcam'}\n"


@pytest.mark.shared
@pytest.mark.slow
def test_scripts_that_broke_it(installed: Installed, shared_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(shared_dir / "cases/api/user_memory_module", tmp_path / "user")
    assert "Tracker" in run([installed.python, "app.py"], tmp_path / "user")
    shutil.copytree(shared_dir / "cases/api/user_export_module", tmp_path / "exporter")
    run([installed.python, "-m", "samcam.export", "--help"], tmp_path / "exporter")


@pytest.mark.slow
def test_importing_the_facade_costs_nothing(installed: Installed, tmp_path: Path) -> None:
    script = "import sys, samcam; print({'numpy', 'cv2', 'av', 'samcam.live'} & set(sys.modules))"
    assert run([installed.python, "-c", script], tmp_path) == "set()\n"
    script = "import samcam\nfor name in samcam.__all__: print(getattr(samcam, name))"
    run([installed.python, "-c", script], tmp_path)


@pytest.mark.slow
def test_the_pages_examples_are_typed(installed: Installed, tmp_path: Path) -> None:
    """`mypy --strict` sees the names that the facade loads on first use."""
    pages = [(REPO_ROOT / name).read_text(encoding="utf-8") for name in PAGES]
    examples = re.findall(r"```python\n(.*?)```", "\n".join(pages), re.DOTALL)
    assert len(examples) == 4
    for number, example in enumerate(examples):
        (tmp_path / f"example{number}.py").write_text(example, encoding="utf-8")
    words = ["--strict", "--python-executable", installed.python, "."]
    said = run([sys.executable, "-m", "mypy", *words], tmp_path)
    assert "no issues found" in said


@pytest.mark.slow
def test_an_sdist_builds_the_same_wheel(installed: Installed, tmp_path: Path) -> None:
    copy_sources(tmp_path / "source")
    packed = build("sdist", tmp_path / "source", tmp_path / "dist")
    with tarfile.open(packed) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (source,) = (tmp_path / "unpacked").iterdir()
    wheel = build("wheel", source, tmp_path / "wheels")
    names = zipfile.ZipFile(installed.wheel).namelist()
    assert sorted(zipfile.ZipFile(wheel).namelist()) == sorted(names)
