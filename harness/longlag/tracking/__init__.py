"""The only place that knows MLflow. Nothing heavy is imported here; `longlag.tracking.store` connects.

MLflow reads these variables when it is imported, so they are set here, before any module below can import it. One that
is set already stays as it is.
"""

import os

DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",  # no usage data leaves the machine
    "DO_NOT_TRACK": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # a server that died blocks for seconds, not for minutes
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # with the password in it, and in the midst of what we print
    "GIT_PYTHON_REFRESH": "quiet",  # no warning where there is no git
}
for _name, _value in DEFAULTS.items():
    os.environ.setdefault(_name, _value)
