"""The file formats of volumes and meshes, one module for each."""
