"""The layouts it is written in, one file per dataset."""
