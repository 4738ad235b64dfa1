"""What is measured: one folder per kind of task; `datasets` holds one file per dataset."""
