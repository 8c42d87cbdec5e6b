"""The single shot multibox detector in PyTorch; `ssd_mxnet` is the same, file by file, in MXNet."""

from ssd_common.machine import keep_freed_memory

keep_freed_memory()
