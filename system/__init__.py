"""What SamCam needs of the system: commands, streams, signals, limits, the end of a process."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from samcam.system.arguments import check_type, lacks, name_or_path, shown
from samcam.system.command_names import (
    checkout,
    exchange,
    exporter,
    install,
    install_also,
    install_over,
    program,
    reinstall,
    with_exporter,
)
from samcam.system.fixable import FixableError
from samcam.system.interrupts import Interrupted, Interrupts
from samcam.system.memory_limit import (
    MEMORY_EXIT_CODE,
    TO_LOAD_MIB,
    TO_RUN_MIB,
    limit_problem,
    memory_problem,
)
from samcam.system.process_end import run_to_the_end
from samcam.system.redact import hide_in_url, hide_secrets
from samcam.system.streams import finish_streams, prepare_streams
from samcam.system.terminal import complain, say
from samcam.system.version import VERSION

if TYPE_CHECKING:
    from samcam.system.checked import Checked, ClashError
    from samcam.system.models import (
        CheckedAs,
        ModelError,
        Problem,
        Section,
        Setting,
        describe,
        leaves,
        read_model,
        schema_of,
    )

__all__ = [
    "MEMORY_EXIT_CODE",
    "TO_LOAD_MIB",
    "TO_RUN_MIB",
    "VERSION",
    "Checked",
    "CheckedAs",
    "ClashError",
    "FixableError",
    "Interrupted",
    "Interrupts",
    "ModelError",
    "Problem",
    "Section",
    "Setting",
    "check_type",
    "checkout",
    "complain",
    "describe",
    "exchange",
    "exporter",
    "finish_streams",
    "hide_in_url",
    "hide_secrets",
    "install",
    "install_also",
    "install_over",
    "lacks",
    "leaves",
    "limit_problem",
    "memory_problem",
    "name_or_path",
    "prepare_streams",
    "program",
    "read_model",
    "reinstall",
    "run_to_the_end",
    "say",
    "schema_of",
    "shown",
    "with_exporter",
]


def __getattr__(name: str) -> Any:
    if name in __all__:  # of the models, which `ctl` does without
        module = "checked" if name in ("Checked", "ClashError") else "models"
        return getattr(import_module(f"samcam.system.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
