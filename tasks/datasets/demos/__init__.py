"""The demo of every dataset, in its native layout: rendered by `tasks.demo`."""
