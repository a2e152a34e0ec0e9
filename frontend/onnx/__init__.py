"""Reading ONNX models: `import_model` makes tensor IR of a file, `check_model` lists everything that is in the way."""

from sparsec.frontend.onnx.importer import Report, check_model, import_model
from sparsec.frontend.onnx.ports import Given
from sparsec.frontend.onnx.problems import Problem, raise_all

__all__ = ["Given", "Problem", "Report", "check_model", "import_model", "raise_all"]
