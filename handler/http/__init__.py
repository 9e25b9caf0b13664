"""The HTTP interface.

Other packages use:

- `app`: the ASGI application of FastAPI, for servers; `endpoints`: the same without FastAPI, for AWS Lambda
- `server`: runs the application; `address`: checks whether it can listen on an address and port
- `problems` and `responses`: errors and answers as JSON, also for batches and the command line
- `prefix`: separates the path prefix of a proxy or stage

The other modules serve these. import-linter checks it.
"""
