"""ONNX files: written with either framework's exporter, run by ONNX Runtime with neither."""

from ssd_common.onnx_files.export import check_packages, encode_onnx, make_graph
from ssd_common.onnx_files.runtime import onnx_backend
from ssd_common.onnx_files.session import OnnxNet, decode_onnx, load_onnx

__all__ = ["OnnxNet", "check_packages", "decode_onnx", "encode_onnx", "load_onnx", "make_graph", "onnx_backend"]
