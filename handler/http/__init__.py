"""The HTTP interface.

Other packages use:

- `app`: the ASGI application of FastAPI, for servers; `endpoints`: the same without FastAPI, for AWS Lambda
- `server`: runs the application; `address`: whether it can listen where it is told to
- `problems` and `responses`: errors and answers as JSON, which batches and the command line write too
- `prefix`: which part of a path is not the application's own

The other modules serve these. import-linter checks it.
"""
