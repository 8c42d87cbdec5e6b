"""What leaves the program: lines on the console, files that are whole or not there, JSON, checks of paths."""

from ssd_common.output.atomic import write_atomically
from ssd_common.output.console import MISSING, format_number, new_console, print_lines, progress_bar, visible
from ssd_common.output.folders import check_file, check_output_folder
from ssd_common.output.json_file import encoded, write_json

__all__ = [
    "MISSING",
    "check_file",
    "check_output_folder",
    "encoded",
    "format_number",
    "new_console",
    "print_lines",
    "progress_bar",
    "visible",
    "write_atomically",
    "write_json",
]
