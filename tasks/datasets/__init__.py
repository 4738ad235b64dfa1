"""One file per dataset; every module here is imported by the registry and must stay light."""
