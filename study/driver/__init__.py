"""One run, from the lock of the study to the exit code. The only room that imports Ray."""
