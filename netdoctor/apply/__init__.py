"""The only writer to namespaces that others use: journal, lock, executor, watchdog, undo."""
