"""The single shot multibox detector in PyTorch; `ssd_mxnet` is the same, file by file, in MXNet."""
