"""`python -m export`: what it refuses, and what it leaves behind."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import jsonschema
import pytest
import torch
from torch import Tensor

from samcam.engines.graph_table import MEMORY_ENCODER
from samcam.export.__main__ import main
from samcam.export.errors import ExportError
from samcam.export.folder import fresh_folder
from samcam.export.sam2.checkpoint import load_sam2, read_official
from tests.conftest import REPO_ROOT, RunCli
from tests.helpers.bounds import LONG_RUN_TIMEOUT_S
from tests.live.cli.test_cli import DEMO, one_error

Weights = dict[str, Tensor]


def export_process(*arguments: str | Path, env: dict[str, str] | None = None) -> tuple[int, str]:
    """Run the exporter; return its exit code and what it said on stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "export", *map(str, arguments)],
        cwd=REPO_ROOT,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=LONG_RUN_TIMEOUT_S,
        check=False,
    )
    assert done.stdout == ""
    return done.returncode, done.stderr


def assert_one_line(result: tuple[int, str], *parts: str) -> None:
    code, stderr = result
    assert code == 4
    (line,) = stderr.splitlines()
    assert line.startswith("export: ")
    for part in parts:
        assert part in line


@pytest.fixture
def changed(parity_checkpoint: Path, tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Write the checkpoint with some keys changed."""
    path = tmp_path / "changed.pt"

    def write(change: Callable[[Weights], object]) -> Path:
        weights = read_official(parity_checkpoint)
        change(weights)
        torch.save({"model": weights}, path)
        return path

    yield write
    path.unlink(missing_ok=True)


@pytest.mark.slow
def test_without_internet(tmp_path: Path) -> None:
    out = tmp_path / "models" / "tiny"
    dead = "http://127.0.0.1:9"
    offline = {"https_proxy": dead, "HTTPS_PROXY": dead, "no_proxy": "", "NO_PROXY": ""}
    home = {"XDG_DATA_HOME": str(tmp_path), "LOCALAPPDATA": str(tmp_path)}
    result = export_process("sam2.1-tiny", "--out", out, env=offline | home)
    assert_one_line(result, "sam2.1_hiera_tiny.pt", "no connection", "--checkpoint")
    assert list(out.parent.iterdir()) == []


@pytest.mark.slow
@pytest.mark.shared
def test_a_truncated_checkpoint(parity_checkpoint: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.pt"
    with parity_checkpoint.open("rb") as stream:
        broken.write_bytes(stream.read(1_000_000))
    out = tmp_path / "models" / "tiny"
    result = export_process("sam2.1-tiny@256", "--checkpoint", broken, "--out", out)
    assert_one_line(result, str(broken), "truncated")
    assert list(out.parent.iterdir()) == []


@pytest.mark.slow
@pytest.mark.shared
def test_a_wrong_set_of_keys(changed: Callable[..., Path], tmp_path: Path) -> None:
    path = changed(lambda weights: weights.update(extra=weights.pop("maskmem_tpos_enc")))
    out = tmp_path / "models" / "tiny"
    result = export_process("sam2.1-tiny@256", "--checkpoint", path, "--out", out)
    wanted = ("not a sam2.1-tiny checkpoint", "memory_temporal_positional_encoding", "extra")
    assert_one_line(result, str(path), *wanted)
    assert list(out.parent.iterdir()) == []


@pytest.mark.slow
@pytest.mark.shared
def test_a_truncated_graph(sam2_256: Path, tmp_path: Path, run_cli: RunCli) -> None:
    folder = tmp_path / "copy"
    folder.mkdir()
    for file in sam2_256.iterdir():
        os.link(file, folder / file.name)
    network = folder / "mask_decoder.onnx"
    content = network.read_bytes()
    network.unlink()
    network.write_bytes(content[:-1000])
    result = run_cli(*DEMO, "--model", folder)
    one_error(
        result, 4, "mask_decoder.onnx", "truncated", "python -m samcam.export sam2.1-tiny@256"
    )


def refusal(variant: str, path: Path) -> str:
    with pytest.raises(ExportError) as caught:
        load_sam2(variant, path)
    message = str(caught.value)
    assert "\n" not in message
    return message


def without_new_keys(weights: Weights) -> None:
    for key in ("no_obj_embed_spatial", "obj_ptr_tpos_proj.weight", "obj_ptr_tpos_proj.bias"):
        del weights[key]


def other_shape(weights: Weights) -> None:
    weights["no_obj_ptr"] = torch.zeros(1, 128)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (without_new_keys, ("468 keys", "3 missing", "looks like SAM 2.0")),
        (other_shape, ("no_object_pointer [1, 128] instead of [1, 256]",)),
        (dict.clear, ("0 keys", "469 missing", "and 466 more")),
    ],
)
def test_wrong_keys_are_named(
    change: Callable[[Weights], None], parts: tuple[str, ...], changed: Callable[..., Path]
) -> None:
    message = refusal("tiny", changed(change))
    for part in parts:
        assert part in message


@pytest.mark.shared
def test_another_variants_weights_are_named(parity_checkpoint: Path) -> None:
    assert refusal("small", parity_checkpoint).endswith("it looks like sam2.1-tiny")


def test_files_that_are_no_checkpoints(tmp_path: Path) -> None:
    assert "no such checkpoint" in refusal("tiny", tmp_path / "none.pt")
    text = tmp_path / "text.pt"
    text.write_text("hello")
    assert "not a readable checkpoint" in refusal("tiny", text)
    empty = tmp_path / "empty.pt"
    empty.write_bytes(b"")
    assert "not a readable checkpoint" in refusal("tiny", empty)
    other = tmp_path / "other.pt"
    torch.save([1, 2, 3], other)
    assert "{'model': tensors}" in refusal("tiny", other)
    assert "model.safetensors" in refusal("tiny", tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"x" * 100)
    assert "not readable" in refusal("tiny", tmp_path)
    assert "expected one of tiny" in refusal("huge", tmp_path)


def test_a_checkpoint_cannot_run_code(tmp_path: Path) -> None:
    """Pickles can call anything: only plain tensors are let through."""
    marker = tmp_path / "ran"

    class Attack:
        def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
            return os.mkdir, (str(marker),)

    path = tmp_path / "attack.pt"
    torch.save({"model": Attack()}, path)
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.endswith("data.pkl")]
        pickle.loads(archive.read(names[0]))  # the attack works where it is not stopped
    marker.rmdir()
    assert "not a readable checkpoint" in refusal("tiny", path)
    assert not marker.exists()


@pytest.mark.parametrize(
    "arguments",
    [("sam2.1-huge",), ("sam2.1-tiny@333",), ("nano@100",), ("sam2.1-tiny", "--precision", "fp8")],
)
def test_wrong_use_ends_with_2(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))
    assert caught.value.code == 2
    assert "expected" in (stderr := capsys.readouterr().err) or "choose from" in stderr


def write_folder(target: Path, text: str, error: BaseException | None = None) -> None:
    with fresh_folder(target) as partial:
        (partial / "manifest.json").write_text(text)
        if error is not None:
            raise error


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "new" / "model"
    with pytest.raises(KeyboardInterrupt):
        write_folder(target, "half", KeyboardInterrupt())
    assert list(target.parent.iterdir()) == []
    for text in ("first", "second"):
        write_folder(target, text)
        assert (target / "manifest.json").read_text() == text
    with pytest.raises(ValueError, match="broken"):
        write_folder(target, "third", ValueError("broken"))
    assert (target / "manifest.json").read_text() == "second"
    assert list(target.parent.iterdir()) == [target]


def test_only_a_model_folder_is_replaced(tmp_path: Path) -> None:
    letter = tmp_path / "home" / "letter.txt"
    letter.parent.mkdir()
    letter.write_text("dear")
    for target in (letter.parent, letter):
        with pytest.raises(ExportError, match="--out"), fresh_folder(target):
            pytest.fail("must not start")
    with pytest.raises(ExportError, match="cannot be written"), fresh_folder(letter / "model"):
        pytest.fail("must not start")
    assert letter.read_text() == "dear"


def test_a_neighbours_names_are_not_touched(tmp_path: Path) -> None:
    """A backup that somebody called model.old or model.partial is theirs."""
    target = tmp_path / "model"
    backups = [tmp_path / "model.old", tmp_path / "model.partial"]
    for backup in backups:
        backup.mkdir()
        (backup / "manifest.json").write_text("mine")
    for text in ("first", "second"):
        write_folder(target, text)
    for backup in backups:
        assert (backup / "manifest.json").read_text() == "mine"
    assert sorted(tmp_path.iterdir()) == sorted([target, *backups])


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(13, "Permission denied")])
@pytest.mark.parametrize("failing", [1, 2])
def test_a_model_survives_an_error_at_either_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int, error: BaseException
) -> None:
    """Ctrl-C just after the old folder moved, or instead of the new one's move."""
    target = tmp_path / "model"
    write_folder(target, "first")
    rename = Path.rename
    calls: list[Path] = []

    def interrupted(self: Path, new: Path) -> Path:
        calls.append(self)
        if len(calls) == failing == 1:
            rename(self, new)
        if len(calls) == failing:
            raise error
        return rename(self, new)

    monkeypatch.setattr(Path, "rename", interrupted)
    wanted = ExportError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(wanted):
        write_folder(target, "second")
    assert (target / "manifest.json").read_text() == "first"
    assert list(tmp_path.iterdir()) == [target]


def test_what_a_killed_export_moved_away_comes_back(tmp_path: Path) -> None:
    target = tmp_path / "model"
    write_folder(target, "first")
    shelf = tmp_path / "model.k1ll3d.partial"
    shelf.mkdir()
    target.rename(shelf / "old")
    with pytest.raises(ValueError, match="broken"):
        write_folder(target, "second", ValueError("broken"))
    assert (target / "manifest.json").read_text() == "first"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.skipif(os.name == "nt", reason="modes are POSIX")
def test_a_model_is_as_readable_as_any_new_folder(tmp_path: Path) -> None:
    target = tmp_path / "model"
    write_folder(target, "first")
    (tmp_path / "other").mkdir()
    assert target.stat().st_mode == (tmp_path / "other").stat().st_mode


def test_errors_of_the_export_itself_are_not_the_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A checkpoint that cannot be read is no folder that cannot be written; still one line."""
    error = PermissionError(13, "Permission denied", "weights.pt")
    with pytest.raises(PermissionError, match=r"weights\.pt") as caught:
        write_folder(tmp_path / "model", "new", error)
    assert caught.value is error

    def unreadable(*_: object) -> None:
        raise error

    monkeypatch.setattr("samcam.export.nano.export_nano", unreadable)
    assert main(["nano", "--out", str(tmp_path / "model")]) == 4
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "export: weights.pt: Permission denied"


@pytest.mark.shared
@pytest.mark.slow
def test_a_failed_export_keeps_the_old_model(
    parity_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "model"
    target.mkdir()
    (target / "manifest.json").write_text("old")
    wrong = ["sam2.1-large@256", "--checkpoint", str(parity_checkpoint), "--out", str(target)]
    assert main(wrong) == 4
    assert "looks like sam2.1-tiny" in capsys.readouterr().err
    assert (target / "manifest.json").read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.shared
@pytest.mark.slow
def test_the_manifest_says_what_was_measured(sam2_256: Path, repo_root: Path) -> None:
    data = json.loads((sam2_256 / "manifest.json").read_text(encoding="utf-8"))
    schema = json.loads((repo_root / "docs/schemas/manifest.schema.json").read_text())
    jsonschema.validate(data, schema)
    assert data["name"] == "sam2.1-tiny@256"
    assert data["memory_dtype"] == "bfloat16"
    assert "SHA-256" in data["origin"]
    for network, figures in data["measured"].items():
        limit = 0.05 if network == MEMORY_ENCODER else 1e-4  # one step of bfloat16
        assert 0 <= figures["random_max_abs"] < limit, network
        assert 0 <= figures["real_max_abs"] < limit, network
    assert list(sam2_256.parent.iterdir()) == [sam2_256]


@pytest.mark.shared
@pytest.mark.slow
def test_the_program_runs_on_the_exported_model(sam2_256: Path, run_cli: RunCli) -> None:
    result = run_cli(*DEMO, "--model", sam2_256, "--prompt", "point=200,200")
    assert result.returncode == 0, result.stderr
    assert "sam2.1-tiny@256" in result.stderr
