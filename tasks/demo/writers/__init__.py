"""What the writers of demos share: the manifest, picture files, DICOM, and identifiers."""
