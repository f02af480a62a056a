"""What readers may see: facts read in one snapshot, put into answers by the pure functions of `worker.engine`.

CLI, API and console read through `worker.view.reader.View`. A reader needs no right but to read, but for
`worker.view.reveal`.
"""
