"""Files: read with bounds, written whole, kept private."""

from samcam.system.files.bounded_files import (
    MAX_JSON_BYTES,
    one_line,
    open_regular,
    parse_json,
    read_json,
    read_regular,
    reason_of,
    shown_path,
    shown_value,
)
from samcam.system.files.known_files import KnownFile, read_known
from samcam.system.files.pipes import is_pipe, say_if_pipe, waiting_for_writer
from samcam.system.files.places import (
    NoHomeError,
    check_name,
    expand_user,
    foreign_entry,
    is_file,
    is_folder,
    is_loop,
    is_there,
    lenient_path,
    on_another_machine,
    resolved,
    user_data_folder,
    user_home,
)
from samcam.system.files.private_files import (
    FOLDER_MODE,
    close_to_others,
    make_private_folder,
    write_private,
)
from samcam.system.files.rows import RowFile, read_rows
from samcam.system.files.texts import decode_text, text_lines
from samcam.system.files.whole_files import write_whole

__all__ = [
    "FOLDER_MODE",
    "MAX_JSON_BYTES",
    "KnownFile",
    "NoHomeError",
    "RowFile",
    "check_name",
    "close_to_others",
    "decode_text",
    "expand_user",
    "foreign_entry",
    "is_file",
    "is_folder",
    "is_loop",
    "is_pipe",
    "is_there",
    "lenient_path",
    "make_private_folder",
    "on_another_machine",
    "one_line",
    "open_regular",
    "parse_json",
    "read_json",
    "read_known",
    "read_regular",
    "read_rows",
    "reason_of",
    "resolved",
    "say_if_pipe",
    "shown_path",
    "shown_value",
    "text_lines",
    "user_data_folder",
    "user_home",
    "waiting_for_writer",
    "write_private",
    "write_whole",
]
