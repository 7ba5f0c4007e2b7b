"""The commands that use models and data outside of the loop; imports are inside the commands."""

from flows.cli.outside.export_data_command import export_data
from flows.cli.outside.predict_command import predict
from flows.cli.outside.serve_command import serve

COMMANDS = (predict, serve, export_data)
